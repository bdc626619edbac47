package servicecli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/internal/api"
	"github.com/cellblock/cellblock/internal/config"
)

type filesCommand struct {
	app *app
	serviceFlags
}

func newFiles(a *app) *cobra.Command {
	c := &filesCommand{app: a}
	cmd := &cobra.Command{
		Use: "files", Short: "Read and write the files of a service's session",
		Example: "  cellblock files list work\n  cellblock files put work sales.csv\n  cellblock files get work report.pdf\n  cellblock files remove work sales.csv",
	}
	c.add(cmd.PersistentFlags())
	sub := func(use, short string, least, most int, run func(*client, []string) error) {
		cmd.AddCommand(&cobra.Command{
			Use: use, Short: short, Args: arguments(least, most), DisableFlagsInUseLine: true,
			RunE: func(_ *cobra.Command, args []string) error {
				client, err := c.connect()
				if err != nil {
					return err
				}
				return run(client, args)
			},
		})
	}
	sub("list SESSION", "List the files of the workspace", 1, 1, c.list)
	sub("get SESSION PATH [TO]", "Copy a file of the workspace to this machine; TO may be - for standard output", 2, 3, c.get)
	sub("put SESSION FILE [PATH]", "Copy a file of this machine into the workspace; FILE may be - for standard input", 2, 3, c.put)
	sub("remove SESSION PATH", "Delete a file of the workspace; one that is not there is no error", 2, 2, func(client *client, args []string) error {
		return client.ask(context.Background(), "DELETE", filePath(args[0], args[1]), nil, nil)
	})
	return group(cmd)
}

func filePath(session, path string) string {
	return sessionPath(session, "files", segment(path))
}

func (c *filesCommand) list(client *client, args []string) error {
	var list api.FileList
	if err := client.ask(context.Background(), "GET", sessionPath(args[0], "files"), nil, &list); err != nil {
		return err
	}
	for _, f := range list.Files {
		if err := c.app.printf("%10d  %s  %s\n", f.Size, f.Modified.Local().Format(time.DateTime), OneLine(f.Path)); err != nil {
			return err
		}
	}
	if !list.Whole {
		return c.app.printf("(not all could be listed)\n")
	}
	return nil
}

func (c *filesCommand) get(client *client, args []string) (err error) {
	to := filepath.Base(args[1])
	if len(args) == 3 {
		to = args[2]
	}
	resp, err := client.send(context.Background(), "GET", filePath(args[0], args[1]), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if to == "-" {
		_, err = io.Copy(c.app.Out, resp.Body)
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return config.Usagef("cannot write: %v", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	_, err = io.Copy(f, resp.Body)
	return err
}

func (c *filesCommand) put(client *client, args []string) error {
	path := filepath.Base(args[1])
	if len(args) == 3 {
		path = args[2]
	}
	if args[1] == "-" && len(args) < 3 {
		return config.Usagef("a name is needed for what comes from standard input: cellblock files put %s - PATH", args[0])
	}
	f := c.app.In
	if args[1] != "-" {
		file, err := os.Open(args[1])
		if err != nil {
			return config.Usagef("cannot read: %v", err)
		}
		defer file.Close()
		if st, err := file.Stat(); err == nil && st.IsDir() {
			return config.Usagef("cannot read: %s is a directory: put its files one by one, or in an archive", args[1])
		}
		f = file
	}
	resp, err := client.send(context.Background(), "PUT", filePath(args[0], path), f, "Content-Type", "application/octet-stream")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
