package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// DefaultBlocked is the list of a new Validator.
var DefaultBlocked = []string{
	"socket", "subprocess", "os.system", "eval", "exec", "__import__",
	"importlib", "shutil.rmtree", "pickle",
}

// ErrUnparsable says that a source was sent to the parser and no facts came
// back in time: too slow, too large, or the parser died or talked nonsense.
// The source is then not valid.
var ErrUnparsable = errors.New("cannot be parsed")

// ErrLost says that a Source is not usable any more (closed, or broken by an
// earlier source). It tells nothing about the source at hand.
var ErrLost = errors.New("the parser is gone")

// Source gets the facts of a piece of Python.
type Source interface {
	Facts(ctx context.Context, code []byte) (Facts, error)
}

// Validator judges Python source by a list of blocked names. It is safe for
// concurrent use; the list may change while it is in use.
type Validator struct {
	source Source

	mu      sync.RWMutex
	blocked []string
}

// Option changes a new Validator.
type Option func(*Validator)

// WithBlocked starts the Validator with these names instead of DefaultBlocked.
func WithBlocked(names ...string) Option {
	return func(v *Validator) {
		v.blocked = nil
		for _, name := range names {
			v.AddBlockedImport(name)
		}
	}
}

// New returns a Validator that asks source for facts.
func New(source Source, opts ...Option) *Validator {
	v := &Validator{source: source, blocked: slices.Clone(DefaultBlocked)}
	for _, opt := range opts {
		opt(v)
	}
	return v
}

// Validate says whether code is free of issues, and which there are. Code that
// cannot be parsed is not valid and has one issue. The error is for what is not
// the code's doing: no parser could be started, ctx ended; then valid is false.
func (v *Validator) Validate(ctx context.Context, code []byte) (valid bool, issues []Issue, err error) {
	if len(code) > MaxSource {
		return false, []Issue{unparsable(fmt.Sprintf("more than %d bytes", MaxSource))}, nil
	}
	facts, err := v.source.Facts(ctx, code)
	if errors.Is(err, ErrUnparsable) {
		why := strings.TrimPrefix(err.Error(), ErrUnparsable.Error()+": ")
		return false, []Issue{unparsable(why)}, nil
	}
	if err != nil {
		return false, nil, fmt.Errorf("cannot validate: %w", err)
	}
	issues = Judge(facts, v.Blocked())
	inCharacters(code, issues)
	return len(issues) == 0, issues, nil
}

// AddBlockedImport adds a module, a builtin or a dotted name of something in a
// module to the list. Adding a name twice is adding it once.
func (v *Validator) AddBlockedImport(name string) {
	name = strings.TrimSpace(name)
	v.mu.Lock()
	defer v.mu.Unlock()
	if name != "" && !slices.Contains(v.blocked, name) {
		v.blocked = append(v.blocked, name)
	}
}

// RemoveBlockedImport takes a name off the list.
func (v *Validator) RemoveBlockedImport(name string) {
	name = strings.TrimSpace(name)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.blocked = slices.DeleteFunc(v.blocked, func(s string) bool { return s == name })
}

// IsBlocked says whether importing or calling name would be an issue: it, or a
// name that it lies below, is on the list.
func (v *Validator) IsBlocked(name string) bool {
	return newPolicy(v.Blocked()).entry(strings.TrimSpace(name)) != ""
}

// Blocked returns the list.
func (v *Validator) Blocked() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Clone(v.blocked)
}
