// Package vary says what a plugin's answers vary by, so that berth can give an answer again
// instead of asking.
//
// Importing it makes the plugin export it; call Implement from an init function.
package vary

var implementation func([]uint8) ByPhase

// Implement sets what says it. It is asked once, when the adapter is loaded, with what setup
// prepared; what it does not name, the answers must not depend on.
func Implement(by func(prepared []byte) ByPhase) {
	implementation = by
}
