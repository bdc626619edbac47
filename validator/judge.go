package validator

import (
	"cmp"
	"slices"
	"strings"
)

// Kinds of issues.
const (
	KindImport     = "import"     // an import statement brings a blocked name in
	KindCall       = "call"       // a blocked name is called
	KindReference  = "reference"  // a blocked name is mentioned, to be called elsewhere
	KindSyntax     = "syntax"     // CPython's parser refuses the source
	KindUnparsable = "unparsable" // too deep, too large, too slow, or it crashed the parser
)

// Issue is one finding. Line and Column count from 1, columns in characters;
// 0 means unknown. Name is the entry of the blocked list, "" for a source that
// does not parse.
type Issue struct {
	Message string `json:"message"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
}

// Judge applies a list of blocked names to the facts of one source. It is a
// pure function: no state, no system call. Issues come sorted by position, one
// for each position and name; columns are those of the facts.
//
// An entry is a module ("socket": with everything below it), a builtin
// ("eval") or something in a module ("os.system"). Names are followed through
// imports and plain assignments, regardless of scope and order. A plain name
// that is called is taken for the builtin even where the code defines its own.
func Judge(facts Facts, blocked []string) []Issue {
	switch {
	case facts.Error != nil:
		return []Issue{errorIssue(facts.Error)}
	case facts.Truncated:
		return []Issue{unparsable("too many names")}
	}
	p := newPolicy(blocked)
	issues := p.imports(facts.Imports)
	p.follow(facts.Aliases)
	issues = append(issues, p.uses(facts.Uses)...)
	slices.SortFunc(issues, func(a, b Issue) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return slices.CompactFunc(issues, func(a, b Issue) bool {
		return a.Line == b.Line && a.Column == b.Column && a.Name == b.Name
	})
}

func errorIssue(e *ParseError) Issue {
	// A source with NUL bytes is a ValueError up to CPython 3.11 and a
	// SyntaxError after; an unknown coding cookie and a number with too many
	// digits differ likewise.
	if strings.HasSuffix(e.Kind, "SyntaxError") || e.Kind == "ValueError" || strings.HasPrefix(e.Kind, "Unicode") {
		return Issue{Message: "Syntax error: " + e.Message, Line: e.Line, Column: e.Column, Kind: KindSyntax}
	}
	return unparsable(strings.TrimSuffix(e.Kind+": "+e.Message, ": "))
}

func unparsable(why string) Issue {
	return Issue{Message: "Cannot be parsed: " + why, Kind: KindUnparsable}
}

// policy knows the blocked names and what the names of one source mean.
type policy struct {
	blocked map[string]bool
	// leading holds every name that leads to a blocked one: for os.system, os
	// and os.system; for eval, eval, builtins and builtins.eval as well.
	leading map[string]bool
	// own are the names that the source imports or aliases. Any other name
	// stands for itself: a builtin, or what an earlier execution imported.
	own map[string]bool
	// means says which of leading a name may stand for.
	means map[string][]string
}

func newPolicy(blocked []string) *policy {
	p := &policy{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string][]string{}}
	for _, entry := range blocked {
		p.blocked[entry] = true
		p.lead(entry)
		if !strings.Contains(entry, ".") {
			p.lead("builtins." + entry)
			p.lead("__builtins__." + entry)
		}
	}
	return p
}

func (p *policy) lead(name string) {
	p.leading[name] = true
	for i := range len(name) {
		if name[i] == '.' {
			p.leading[name[:i]] = true
		}
	}
}

// entry returns the blocked name that a dotted name is or lies below, or "".
func (p *policy) entry(name string) string {
	for _, builtins := range []string{"builtins.", "__builtins__."} {
		if rest, ok := strings.CutPrefix(name, builtins); ok {
			name = rest
		}
	}
	for i := 0; i <= len(name); i++ {
		if (i == len(name) || name[i] == '.') && p.blocked[name[:i]] {
			return name[:i]
		}
	}
	return ""
}

// imports finds blocked imports and learns what the others bind. A name that
// comes from a blocked import is not followed: its issue is the import.
func (p *policy) imports(imports []Import) (issues []Issue) {
	for _, i := range imports {
		// full is what is imported, meaning what the bound name then stands for.
		full, bound := i.Module, i.As
		meaning := full
		switch {
		case i.Name == "" && bound == "": // import a.b binds a
			bound, _, _ = strings.Cut(full, ".")
			meaning = bound
		case i.Name == "*":
			bound = ""
		case i.Name != "":
			full += "." + i.Name
			meaning, bound = full, cmp.Or(bound, i.Name)
		}
		if bound != "" {
			p.own[bound] = true
		}
		if i.Level > 0 { // a module of the source's own package
			continue
		}
		if entry := p.entry(full); entry != "" {
			issues = append(issues, Issue{"Blocked import detected: " + entry, i.Line, i.Column, KindImport, entry})
		} else if i.Name == "*" {
			p.learnStar(full)
		} else {
			p.learn(bound, meaning)
		}
	}
	return issues
}

// learn notes that name may stand for meaning, and says whether that is news.
func (p *policy) learn(name, meaning string) bool {
	if !p.leading[meaning] || slices.Contains(p.means[name], meaning) {
		return false
	}
	p.means[name] = append(p.means[name], meaning)
	return true
}

// learnStar is learn for every name that `from module import *` may bind.
func (p *policy) learnStar(module string) {
	for meaning := range p.leading {
		rest, ok := strings.CutPrefix(meaning, module+".")
		if ok && !strings.Contains(rest, ".") {
			p.learn(rest, meaning)
		}
	}
}

// follow learns what aliases stand for, until nothing is news. It ends, and
// soon: every step adds one of leading to one name.
func (p *policy) follow(aliases []Alias) {
	byRoot := map[string][]Alias{}
	for _, a := range aliases {
		p.own[a.Name] = true
		byRoot[root(a.Source)] = append(byRoot[root(a.Source)], a)
	}
	type step struct{ name, meaning string }
	var news []step
	take := func(a Alias, meaning string) { // a.Source's root stands for meaning
		full := meaning + a.Source[len(root(a.Source)):]
		full = cmp.Or(p.entry(full), full)
		if p.learn(a.Name, full) {
			news = append(news, step{a.Name, full})
		}
	}
	for name, list := range byRoot {
		for _, a := range list {
			if !p.own[name] || a.Source == name && p.blocked[name] {
				take(a, name)
			}
		}
		for _, meaning := range slices.Clone(p.means[name]) {
			for _, a := range list {
				take(a, meaning)
			}
		}
	}
	for len(news) > 0 {
		s := news[len(news)-1]
		news = news[:len(news)-1]
		for _, a := range byRoot[s.name] {
			take(a, s.meaning)
		}
	}
}

// uses finds calls and mentions of blocked names.
func (p *policy) uses(uses []Use) (issues []Issue) {
	for _, u := range uses {
		name := root(u.Name)
		rest := u.Name[len(name):]
		var entries []string
		if !p.own[name] || u.Call && rest == "" {
			entries = append(entries, p.entry(u.Name))
		}
		for _, meaning := range p.means[name] {
			entries = append(entries, p.entry(meaning+rest))
		}
		slices.Sort(entries)
		kind := KindReference
		if u.Call {
			kind = KindCall
		}
		for _, entry := range slices.Compact(entries) {
			if entry == "" {
				continue
			}
			for _, at := range u.Places {
				issues = append(issues, Issue{"Dangerous function call detected: " + entry, at.Line, at.Column, kind, entry})
			}
		}
	}
	return issues
}

// root is the first of the names in a dotted one.
func root(name string) string {
	first, _, _ := strings.Cut(name, ".")
	return first
}
