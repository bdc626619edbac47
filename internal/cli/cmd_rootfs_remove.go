package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/rootfs"
)

const rootfsRemoveLong = `Remove roots by name or digest (six or more first digits do). A root that a cell
uses is not removed. What a later run needs is built again.

Exit status: 0 when all were removed, 2 wrong usage, 125 when one was not.`

func newRootfsRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:                   "remove NAME...",
		Short:                 "Remove roots",
		Long:                  rootfsRemoveLong,
		Example:               "  cellblock rootfs remove science 3f29ab",
		ValidArgsFunction:     completeRoots,
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, names []string) error {
			if len(names) == 0 {
				return usagef("name the roots to remove (see: cellblock rootfs list)")
			}
			store, err := rootfs.Open("")
			if err != nil {
				return err
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
}
