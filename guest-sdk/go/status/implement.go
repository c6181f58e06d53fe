// Package status says what to report.
//
// Importing it makes the plugin export the phase; call Implement from an init function.
package status

import (
	"github.com/openshift-hyperfleet/berth/guest-sdk/go/types"
	witTypes "github.com/openshift-hyperfleet/berth/guest-sdk/go/wit/types"
)

var implementation func(types.Facts, []types.Object, Draft) witTypes.Result[Answer, types.Failure]

// Implement sets what reports, in every case, also when an earlier phase failed or waits.
func Implement(report func(types.Facts, []types.Object, Draft) (Answer, *types.Failure)) {
	implementation = func(facts types.Facts, objects []types.Object, draft Draft) witTypes.Result[Answer, types.Failure] {
		return types.Settle(report(facts, objects, draft))
	}
}
