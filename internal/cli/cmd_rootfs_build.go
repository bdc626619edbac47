package cli

import (
	"fmt"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/rootfs"
)

const rootfsBuildLong = `Build the root that a run with the same --python, --with and --venv uses. One that
is there already is taken as it is. With --name it is kept under that name, which
"cellblock run --root" takes, also when the host's packages change.`

const rootfsBuildExample = `  cellblock rootfs build
  cellblock rootfs build --with numpy,pandas,matplotlib --name science
  cellblock rootfs build --python /usr/local/bin/python3.13 --venv ./venv`

func newRootfsBuild(a *app) *cobra.Command {
	var flags cellFlags
	var name string
	var asJSON bool
	cmd := &cobra.Command{
		Use:                   "build [flags]",
		Short:                 "Build a root",
		Long:                  rootfsBuildLong,
		Example:               rootfsBuildExample,
		Args:                  noArguments,
		ValidArgsFunction:     cobra.NoFileCompletions,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			return a.buildRoot(executor.Config{Python: flags.python, Packages: flags.with, Venv: flags.venv}, name, asJSON)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	flags.addRoot(fs)
	fs.StringVar(&name, "name", "", "keep the root under this `NAME`")
	fs.BoolVar(&asJSON, "json", false, "print the root as a JSON object")
	completeFlags(cmd)
	return cmd
}

func (a *app) buildRoot(cfg executor.Config, name string, asJSON bool) error {
	spec, err := cfg.RootSpec()
	if err != nil {
		return err
	}
	store, err := rootfs.Open("")
	if err != nil {
		return err
	}
	ctx, _, stop := untilSignal()
	defer stop()
	bar := newProgress(a.Err, atOnce)
	root, err := store.Ensure(ctx, spec, bar.update)
	bar.finish()
	if err != nil {
		return because(ctx, err)
	}
	if name != "" {
		if err := store.Name(root.Digest, name); err != nil {
			return err
		}
	}
	info := describeRoot(store, root)
	for _, w := range info.Warnings {
		fmt.Fprintf(a.Err, "cellblock: %s\n", OneLine(w))
	}
	if asJSON {
		return writeJSON(a.Out, info)
	}
	_, err = fmt.Fprintf(a.Out, "root %s: Python %s, %d packages, %d files, %s, in %s\n", root.Digest, versionText(root.Version),
		len(root.Packages), info.Files, units.BytesSize(float64(info.Bytes)), root.Dir)
	return err
}

// describeRoot finds what the list says of a root.
func describeRoot(store *rootfs.Store, root *rootfs.Root) rootfs.Info {
	roots, _ := store.List()
	for _, info := range roots {
		if info.Digest == root.Digest {
			return info
		}
	}
	return rootfs.Info{Root: *root}
}
