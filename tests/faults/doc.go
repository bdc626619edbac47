// Package faults holds tests in which the system calls that build a cell and
// take it down fail, one at a time. They need a seam that ordinary programs do
// not have: `make test-faults` builds them with the tag cellblock_faults.
package faults
