// Package postconditions decides whether the work is done.
//
// Importing it makes the plugin export the phase; call Implement from an init function.
package postconditions

import (
	"github.com/openshift-hyperfleet/berth/guest-sdk/go/types"
	witTypes "github.com/openshift-hyperfleet/berth/guest-sdk/go/wit/types"
)

var implementation func(types.Facts, []types.Object) witTypes.Result[Answer, types.Failure]

// Implement sets what decides over the objects as observed. Work that failed is an answer.
func Implement(decide func(types.Facts, []types.Object) (Answer, *types.Failure)) {
	implementation = func(facts types.Facts, objects []types.Object) witTypes.Result[Answer, types.Failure] {
		return types.Settle(decide(facts, objects))
	}
}
