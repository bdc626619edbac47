package executor

import (
	"context"
	"time"

	"github.com/cellblock/cellblock/internal/workspace"
)

// Kind is what a name in a workspace stands for.
type Kind string

// The kinds.
const (
	KindFile  Kind = "file"
	KindDir   Kind = "dir"
	KindLink  Kind = "link"  // a symbolic link, which is never followed
	KindOther Kind = "other" // a FIFO, a socket, a device
)

// Entry is a name in a workspace. Size, Modified and Mode are those of files.
type Entry struct {
	Path     string // relative, raw bytes
	Kind     Kind
	Size     int64
	Modified time.Time
	Mode     uint32
}

// Entries lists all names in the workspace as it is now, also while code runs,
// files before directories before others. Whole is as with Files.
func (s *Session) Entries() (entries []Entry, whole bool, err error) {
	work, _, _ := s.inside()
	if work == nil {
		return nil, true, nil
	}
	snap, err := work.Snapshot(s.copyLimits())
	if err != nil {
		return nil, false, err
	}
	for _, f := range snap.Files {
		entries = append(entries, Entry{f.Path, KindFile, f.Size, time.Unix(0, f.Mtime).UTC(), f.Mode})
	}
	for _, d := range snap.Dirs {
		entries = append(entries, Entry{Path: d, Kind: KindDir})
	}
	for _, o := range snap.Others {
		kind := KindOther
		if o.Link {
			kind = KindLink
		}
		entries = append(entries, Entry{Path: o.Path, Kind: kind})
	}
	return entries, snap.Complete(), nil
}

// MakeDir makes a directory of the workspace and those above it, also while code
// runs. It builds the cell if there is none. One that is there already is no
// error; a name that cannot be made is an *InvalidError.
func (s *Session) MakeDir(ctx context.Context, path string) error {
	clean, err := workspace.CheckPath(path)
	if err != nil {
		return invalidPath(path, err)
	}
	_, _, cell, err := s.insideStarted(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	return writeFailure(path, cell.MkdirAll(ctx, clean))
}
