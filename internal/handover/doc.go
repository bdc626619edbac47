// Package handover carries descriptors, and what they are, from a process to the one
// that comes after it, through a keeper that knows nothing of either: systemd's store
// of descriptors.
//
//	var load handover.Load
//	n, err := load.Add(file)            // the state names it by this number
//	box, err := handover.Pack(state, &load)
//
// The keeper gets one descriptor, the box: a socket in which all others lie as messages
// that nobody has received yet. They live as long as it does, and end with it, all at
// once. Who unpacks it has them, and has emptied it: none is taken over twice.
package handover
