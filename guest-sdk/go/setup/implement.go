// Package setup checks and prepares a plugin's configuration, once, when the adapter is loaded.
//
// Importing it makes the plugin export it; call Implement from an init function.
package setup

import (
	"github.com/openshift-hyperfleet/berth/guest-sdk/go/types"
	witTypes "github.com/openshift-hyperfleet/berth/guest-sdk/go/wit/types"
)

var implementation func(string) witTypes.Result[[]uint8, []types.Problem]

// Implement sets what checks a configuration. Problems, if any, refuse the adapter; the bytes
// are what the phases see as Facts.Prepared.
func Implement(prepare func(config string) ([]byte, []types.Problem)) {
	implementation = func(config string) witTypes.Result[[]uint8, []types.Problem] {
		prepared, problems := prepare(config)
		if len(problems) > 0 {
			return witTypes.Err[[]uint8, []types.Problem](problems)
		}
		return witTypes.Ok[[]uint8, []types.Problem](prepared)
	}
}
