package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/rootfs"
)

const rootfsLong = `A cell's root holds one Python, its standard library, the packages that were
named and the shared libraries these need, and nothing else: no shell, no setuid
file, no compiler. It is copied once from what is installed on this host, and
every cell binds that one tree read-only. "cellblock run" builds the root that it
needs by itself; these commands build one ahead, and look after those there are.

Roots are kept in /var/lib/cellblock for root, in ~/.local/share/cellblock for
other users, or in $CELLBLOCK_STATE_DIR.`

const rootfsExample = `  cellblock rootfs build --with numpy,pandas --name science
  cellblock run --root science report.py
  cellblock rootfs list
  cellblock rootfs verify
  cellblock rootfs remove science`

func newRootfs(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rootfs",
		Short:   "Build, list, verify and remove roots",
		Long:    rootfsLong,
		Example: rootfsExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("say what to do: build, list, verify or remove (see: cellblock rootfs --help)")
			}
			return usagef("there is no command \"rootfs %s\": there is build, list, verify and remove", args[0])
		},
		RunE:                  func(*cobra.Command, []string) error { return nil },
		DisableFlagsInUseLine: true,
	}
	cmd.AddCommand(newRootfsBuild(a), newRootfsList(a), newRootfsVerify(a), newRootfsRemove(a))
	return cmd
}

func newRootfsList(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:                   "list [flags]",
		Short:                 "List the roots, the newest first",
		Example:               "  cellblock rootfs list\n  cellblock rootfs list --json",
		Args:                  noArguments,
		ValidArgsFunction:     cobra.NoFileCompletions,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			store, err := rootfs.Open("")
			if err != nil {
				return err
			}
			roots, err := store.List()
			if err != nil {
				return err
			}
			if asJSON {
				if roots == nil {
					roots = []rootfs.Info{}
				}
				return writeJSON(a.Out, roots)
			}
			printRoots(a.Out, roots)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list with everything that is known")
	return cmd
}

func printRoots(w io.Writer, roots []rootfs.Info) {
	if len(roots) == 0 {
		fmt.Fprintln(w, "there is no root yet: the first run builds one, or: cellblock rootfs build")
		return
	}
	const row = "%-12s  %-9s  %9s  %-16s  %-3s  %-12s  %s\n"
	fmt.Fprintf(w, row, "DIGEST", "PYTHON", "SIZE", "CREATED", "USE", "NAME", "PACKAGES")
	for _, r := range roots {
		use := "-"
		if r.InUse {
			use = "yes"
		}
		line := fmt.Sprintf(row, r.Digest[:12], versionText(r.Version), units.BytesSize(float64(r.Bytes)),
			r.Created.Local().Format("2006-01-02 15:04"), use, orDash(strings.Join(r.Names, ",")), packageList(r))
		io.WriteString(w, OneLine(line)+"\n")
	}
}

func versionText(v [3]int) string {
	if v == [3]int{} {
		return "unreadable"
	}
	return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2])
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// packageList names what was asked for, and how many packages that made.
func packageList(r rootfs.Info) string {
	asked := slices.Clone(r.Host.Packages)
	if r.Host.Venv != "" {
		asked = append(asked, r.Host.Venv)
	}
	if len(r.Packages) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%d in all)", orDash(strings.Join(asked, ",")), len(r.Packages))
}

// completeRoots gives the shell the names and digests of the roots.
func completeRoots(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	store, err := rootfs.Open("")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	roots, _ := store.List()
	var words []string
	for _, r := range roots {
		words = append(words, r.Names...)
		words = append(words, r.Digest[:12])
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
