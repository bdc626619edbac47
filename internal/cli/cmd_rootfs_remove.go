package cli

import (
	"errors"
	"fmt"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/rootfs"
)

const rootfsRemoveLong = `Remove roots by name or digest (six or more first digits do), or with --unused
all that have no name. A root that a cell uses is not removed. What a later run
needs is built again.

Exit status: 0 when all were removed, 2 wrong usage, 125 when one was not.`

func newRootfsRemove(a *app) *cobra.Command {
	var unused bool
	cmd := &cobra.Command{
		Use:                   "remove (NAME... | --unused)",
		Short:                 "Remove roots",
		Long:                  rootfsRemoveLong,
		Example:               "  cellblock rootfs remove science 3f29ab\n  cellblock rootfs remove --unused",
		ValidArgsFunction:     completeRoots,
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, names []string) error {
			switch {
			case unused && len(names) > 0:
				return usagef("name the roots to remove, or give --unused, not both")
			case !unused && len(names) == 0:
				return usagef("name the roots to remove, or give --unused (see: cellblock rootfs list)")
			}
			store, err := rootfs.Open("")
			if err != nil {
				return err
			}
			if unused {
				return removeUnused(a, store)
			}
			for _, name := range names {
				digest, err := store.Resolve(name)
				if err != nil {
					return err
				}
				if err := store.Remove(digest); err != nil {
					return err
				}
				fmt.Fprintf(a.Out, "removed %s\n", digest)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&unused, "unused", false, "remove every root without a name that no cell uses")
	return cmd
}

// removeUnused removes what nobody named and no cell holds. A root that a cell
// takes meanwhile stays.
func removeUnused(a *app, store *rootfs.Store) error {
	roots, err := store.List()
	if err != nil {
		return err
	}
	for _, r := range roots {
		if r.InUse || len(r.Names) > 0 {
			continue
		}
		switch err := store.Remove(r.Digest); {
		case errors.Is(err, rootfs.ErrInUse):
		case err != nil:
			return err
		default:
			fmt.Fprintf(a.Out, "removed %s (%s)\n", r.Digest, units.BytesSize(float64(r.Bytes)))
		}
	}
	return nil
}
