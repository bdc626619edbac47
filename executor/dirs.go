package executor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cellblock/cellblock/internal/weaken"
	"github.com/cellblock/cellblock/internal/workspace"
	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/rootfs"
)

// name is what the directory is called in the workspace.
func (d Dir) name() (string, error) {
	if d.Name != "" {
		return workspace.CheckPath(d.Name)
	}
	abs, err := filepath.Abs(d.Host)
	if err != nil {
		return "", err
	}
	return workspace.CheckPath(filepath.Base(abs))
}

// stage makes the copies of read-only directories that the cell binds.
func (s *Session) stage(ctx context.Context, dirs []Dir) ([]nsjail.Input, error) {
	var inputs []nsjail.Input
	for _, d := range dirs {
		if !d.ReadOnly {
			continue
		}
		name, err := d.name()
		if err != nil {
			return nil, &InvalidError{"directory", d.Host, err.Error()}
		}
		state := s.ex.cfg.StateDir
		if state == "" {
			if state, err = rootfs.DefaultDir(); err != nil {
				return nil, err
			}
		}
		store, err := workspace.OpenStage(state)
		if err != nil {
			return nil, err
		}
		staged, err := store.Add(ctx, d.Host, workspace.Limits{FileBytes: 1 << 40, TotalBytes: 1 << 40, Entries: 1 << 20})
		if err != nil {
			return nil, &InvalidError{"directory", d.Host, err.Error()}
		}
		s.staged = append(s.staged, staged)
		s.note(d)
		st, err := os.Stat(staged.Path)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, nsjail.Input{Stage: staged.Path, Name: name, File: !st.IsDir()})
	}
	return inputs, nil
}

// collect queues the other directories for copying, once for a cell.
func (s *Session) collect(dirs []Dir) ([]*workspace.Tree, error) {
	var trees []*workspace.Tree
	for _, d := range dirs {
		if s.given[d] {
			continue
		}
		if d.ReadOnly {
			return trees, &InvalidError{"directory", d.Host, "what is shared read-only is given to a session's first execution, when its cell is built"}
		}
		name, err := d.name()
		if err != nil {
			return trees, &InvalidError{"directory", d.Host, err.Error()}
		}
		tree, err := workspace.CollectTree(d.Host, name, s.copyLimits())
		if err != nil {
			return trees, &InvalidError{"directory", d.Host, err.Error()}
		}
		trees = append(trees, tree)
		for _, skipped := range tree.Skipped {
			// Links and special files are never copied, which api.md says; a
			// file that is missing for another reason would be half of the data.
			if !skipped.NotAFile() {
				return trees, &InvalidError{"directory", d.Host, fmt.Sprintf("%s cannot be copied: %s", workspace.Quote(skipped.Path), skipped.Why)}
			}
		}
		s.mirror.Queue(tree.Uploads, tree.Dirs)
		s.note(d)
	}
	return trees, nil
}

// note remembers that the cell has d.
func (s *Session) note(d Dir) {
	if s.given == nil {
		s.given = map[Dir]bool{}
	}
	s.given[d] = true
}

func (s *Session) copyLimits() workspace.Limits {
	l := workspace.Limits{FileBytes: s.cfg.WorkspaceBytes, TotalBytes: s.cfg.WorkspaceBytes}
	if weaken.Layer("copy-limit") {
		l.TotalBytes *= 4
	}
	return l
}
