package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/rootfs"
)

const rootfsVerifyLong = `Compare every file of the named roots, or of all of them, with the hashes that
were taken when they were built. A changed byte, a missing or an extra file,
another mode or owner is found and named.

Exit status: 0 when all are as they were built, 1 when one is not, 2 wrong usage,
125 when a root cannot be read or there is none of that name.`

func newRootfsVerify(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:                   "verify [flags] [NAME...]",
		Short:                 "Compare roots with what was built",
		Long:                  rootfsVerifyLong,
		Example:               "  cellblock rootfs verify\n  cellblock rootfs verify --json science",
		ValidArgsFunction:     completeRoots,
		DisableFlagsInUseLine: true,
		RunE:                  func(_ *cobra.Command, args []string) error { return a.verifyRoots(args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a root")
	return cmd
}

func (a *app) verifyRoots(names []string, asJSON bool) error {
	store, err := rootfs.Open("")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		roots, err := store.List()
		if err != nil {
			return err
		}
		for _, r := range roots {
			names = append(names, r.Digest)
		}
	}
	for _, name := range names {
		report, err := store.Verify(name, nil)
		if err != nil {
			return err
		}
		if !report.OK() {
			a.status = 1
		}
		if asJSON {
			if err := writeJSON(a.Out, report); err != nil {
				return err
			}
			continue
		}
		printVerification(a.Out, report)
	}
	return nil
}

// printVerification writes one line for a root, and one for each difference.
func printVerification(w io.Writer, r *rootfs.Report) {
	fmt.Fprintln(w, OneLine(r.String()))
	for _, kind := range []struct {
		word  string
		paths []string
	}{{"changed", r.Changed}, {"missing", r.Missing}, {"extra", r.Extra}, {"mode", r.Modes}, {"owner", r.Owners}} {
		for _, path := range kind.paths {
			fmt.Fprintf(w, "  %-8s /%s\n", kind.word, OneLine(path))
		}
	}
}
