package types

import witTypes "github.com/openshift-hyperfleet/berth/guest-sdk/go/wit/types"

// Settle turns an answer and a failure, of which one is absent, into a result.
func Settle[T any](answer T, failure *Failure) witTypes.Result[T, Failure] {
	if failure != nil {
		return witTypes.Err[T, Failure](*failure)
	}
	return witTypes.Ok[T, Failure](answer)
}
