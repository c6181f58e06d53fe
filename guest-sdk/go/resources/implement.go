// Package resources plans the Kubernetes objects that do the work.
//
// Importing it makes the plugin export the phase; call Implement from an init function.
package resources

import (
	"github.com/openshift-hyperfleet/berth/guest-sdk/go/types"
	witTypes "github.com/openshift-hyperfleet/berth/guest-sdk/go/wit/types"
)

var implementation func(types.Facts, []types.Object) witTypes.Result[Plan, types.Failure]

// Implement sets what plans. It sees what the adapter owns for this subject, and from the
// second round on what its queries found.
func Implement(plan func(types.Facts, []types.Object) (Plan, *types.Failure)) {
	implementation = func(facts types.Facts, objects []types.Object) witTypes.Result[Plan, types.Failure] {
		return types.Settle(plan(facts, objects))
	}
}
