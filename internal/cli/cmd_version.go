package cli

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "devel"

func newVersion(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:                   "version [flags]",
		Short:                 "Print the version",
		Example:               "  cellblock version --json",
		Args:                  noArguments,
		ValidArgsFunction:     cobra.NoFileCompletions,
		DisableFlagsInUseLine: true,
		RunE:                  func(*cobra.Command, []string) error { return printVersion(a.Out, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object: version, go, platform")
	return cmd
}

func printVersion(w io.Writer, asJSON bool) error {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if asJSON {
		return writeJSON(w, struct {
			Version  string `json:"version"`
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{version, runtime.Version(), platform})
	}
	_, err := fmt.Fprintf(w, "cellblock %s (%s, %s)\n", version, runtime.Version(), platform)
	return err
}
