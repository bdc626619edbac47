package executor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cellblock/cellblock/internal/workspace"
	"github.com/cellblock/cellblock/nsjail"
)

// pushTime bounds the writing of files into a workspace, which a process of
// the cell does as the code's own user: what an earlier execution left running
// can stop that process, though not for longer than this.
const pushTime = 20 * time.Second

// bringIn puts the request's files where the code finds them. When that hangs,
// all code is killed and it is tried again: lost says that this happened.
func (s *Session) bringIn(ctx context.Context, r Request) (lost bool, err error) {
	for _, host := range slices.Sorted(maps.Keys(r.InputFiles)) {
		if err := s.mirror.Place(ctx, host, r.InputFiles[host]); err != nil {
			return false, &InvalidError{"input file", host, err.Error()}
		}
	}
	trees, err := s.collect(append(append([]Dir{}, s.options.Dirs...), r.Dirs...))
	for _, t := range trees {
		defer t.Close()
	}
	if err != nil {
		return false, err
	}
	uploads, err := given(r.Given)
	if err != nil {
		return false, err
	}
	err = s.push(ctx, uploads)
	hindered := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nsjail.ErrWriterEnded)
	if !hindered || ctx.Err() != nil || s.execution == 0 {
		return false, err
	}
	// It may be the doing of any code in the cell.
	if err := s.tenants.killAll(ctx, s.cell); err != nil {
		s.cell.Close()
	}
	s.endREPL()
	if _, err := s.ready(ctx, nil); err != nil {
		return true, err
	}
	return true, s.push(ctx, uploads)
}

// given are the uploads of files that are open.
func given(files []Given) ([]workspace.Upload, error) {
	var list []workspace.Upload
	for _, f := range files {
		up, err := workspace.GivenUpload(f.FD, f.Name)
		if err != nil {
			return nil, invalidGiven(f.Name, err)
		}
		list = append(list, up)
	}
	return list, nil
}

func (s *Session) push(ctx context.Context, uploads []workspace.Upload) error {
	ctx, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	if _, err := s.mirror.Push(ctx, s.cell); err != nil {
		return err
	}
	for _, up := range uploads {
		if err := s.mirror.Put(ctx, s.cell, up); err != nil {
			return writeFailure(up.Path, err)
		}
	}
	return nil
}

// bringOut carries what the code did to its files to the host.
func (s *Session) bringOut(ctx context.Context, r Request, x *run, result *Result) error {
	if s.mirror == nil {
		return nil
	}
	changes, err := s.mirror.Pull(ctx)
	result.list(changes, func(c workspace.Change) bool { return c.Path == x.name && r.Filename == "" })
	if err != nil || r.Collect == "" {
		return err
	}
	dest, err := workspace.OpenFolder(r.Collect)
	if err != nil {
		return &InvalidError{"output directory", r.Collect, err.Error()}
	}
	defer dest.Close()
	wanted := slices.DeleteFunc(slices.Clone(changes), func(c workspace.Change) bool { return c.Kind == workspace.Deleted })
	_, err = s.work.CopyOut(ctx, wanted, dest, s.copyLimits())
	return err
}
