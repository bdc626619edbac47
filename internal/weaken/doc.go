// Package weaken takes single layers of a cell away, to show that the attacks
// of tests/escape would notice. It does so only in a program that is built
// with the tag cellblock_weaken, which nothing but `make test-mutation` does:
//
//	if weaken.Layer("reply-number") { … } // never, in any other program
//
// In every other build Layer is the constant false, which the compiler leaves
// out together with what depends on it. A cell of a weakened program is no
// cell; none is ever given to anybody.
package weaken
