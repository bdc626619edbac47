package main

import (
	"bytes"
	"context"
	"io"
	"os"
)

// prompt is what the console shows when it waits for a command.
const prompt = "root@cellblock-vm:~# "

// console boots a machine on this terminal. Commands that come from a file or a
// pipe are typed in when the prompt is there, and the machine ends after them.
func (i *image) console(ctx context.Context, payload string) error {
	cmd := i.qemu(ctx, payload, " cellblock.shell=1 systemd.log_color=1", "-serial", "mon:stdio")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if info, err := os.Stdin.Stat(); err != nil || info.Mode()&os.ModeCharDevice != 0 {
		return cmd.Run()
	}
	shown := &awaited{to: os.Stdout, text: []byte(prompt), seen: make(chan struct{})}
	cmd.Stdin, cmd.Stdout = nil, shown
	keys, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		select {
		case <-shown.seen:
			io.Copy(keys, newTyped(os.Stdin)) // it stays open: the port would be disconnected
		case <-ctx.Done():
		}
	}()
	return cmd.Wait()
}

// newTyped is what a person would type for a file of commands.
func newTyped(commands io.Reader) io.Reader {
	return io.MultiReader(commands, bytes.NewReader([]byte("\npoweroff\n")))
}

// awaited passes on what is written and says when a text was there.
type awaited struct {
	to   io.Writer
	text []byte
	seen chan struct{} // closed then
	last []byte
	was  bool
}

func (a *awaited) Write(b []byte) (int, error) {
	if !a.was {
		a.last = append(a.last, b...)
		if a.was = bytes.Contains(a.last, a.text); a.was {
			close(a.seen)
		}
		a.last = a.last[max(0, len(a.last)-len(a.text)):]
	}
	return a.to.Write(b)
}
