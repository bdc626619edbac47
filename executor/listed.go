package executor

import "github.com/cellblock/cellblock/internal/workspace"

// maxListed is how many bytes of names a Result lists, so that a cell with
// 16,384 names of 4 KB does not make one of 78 MB.
const maxListed = 1 << 20

// list fills in what the host saw of the files; skip says which is none of the
// user's.
func (r *Result) list(changes []workspace.Change, skip func(workspace.Change) bool) {
	room := maxListed
	fits := func(name string) bool {
		room -= len(name)
		r.Truncated.Files = r.Truncated.Files || room < 0
		return room >= 0
	}
	for _, c := range changes {
		if name := text(c.Path); !skip(c) && fits(name) {
			r.Files = append(r.Files, FileChange{Path: name, Size: c.Size, Change: string(c.Kind)})
		}
	}
	for _, p := range workspace.CreatedFiles(changes) {
		if name := text(p); fits(name) {
			r.CreatedFiles = append(r.CreatedFiles, name)
		}
	}
}
