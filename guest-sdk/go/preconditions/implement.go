// Package preconditions decides whether an adapter may act on the subject now.
//
// Importing it makes the plugin export the phase; call Implement from an init function.
package preconditions

import (
	"github.com/openshift-hyperfleet/berth/guest-sdk/go/types"
	witTypes "github.com/openshift-hyperfleet/berth/guest-sdk/go/wit/types"
)

var implementation func(types.Facts) witTypes.Result[Answer, types.Failure]

// Implement sets what decides. A failure is a defect of the plugin or of what it depends on;
// "not yet" is an answer.
func Implement(decide func(types.Facts) (Answer, *types.Failure)) {
	implementation = func(facts types.Facts) witTypes.Result[Answer, types.Failure] {
		return types.Settle(decide(facts))
	}
}
