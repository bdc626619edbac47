package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/reeflective/readline"
)

const replBanner = "Python in a cell: no network, no other programs, no files of this host. Ctrl-D ends.\n"

// onTerminal reads from somebody who types.
func (t *conversation) onTerminal() error {
	ctx, cancel, stop := untilHangup()
	defer stop()
	editor := readline.NewShell()
	editor.Prompt.Primary(func() string { return ">>> " })
	editor.Prompt.Secondary(func() string { return "... " })
	for option, on := range map[string]bool{
		"multiline-column":             true, // or the secondary prompt is not shown
		"menu-complete-display-prefix": true, // Tab first inserts what all names share
	} {
		if err := editor.Config.Set(option, on); err != nil {
			return fmt.Errorf("BUG(cli): option %s of the line editor: %w", option, err)
		}
	}
	editor.AcceptMultiline = func(line []rune) bool { return isWhole(string(line)) }
	editor.Completer = func(line []rune, cursor int) readline.Completions {
		return t.complete(ctx, string(line[:cursor]))
	}
	if path := historyFile(); path != "" {
		editor.History.AddFromFile("history", path)
	}
	restore, err := terminalState(t.app.In)
	if err != nil {
		return fmt.Errorf("cannot read the state of the terminal: %w", err)
	}
	fmt.Fprint(t.app.Out, replBanner)
	type input struct {
		code string
		err  error
	}
	typed := make(chan input)
	for {
		go func() {
			code, err := editor.Readline()
			typed <- input{code, err}
		}()
		var code string
		select {
		case in := <-typed:
			code, err = in.code, in.err
		case <-ctx.Done():
			// The editor goes on waiting for a key, and leaves the terminal raw.
			restore()
			return context.Cause(ctx)
		}
		switch {
		case errors.Is(err, readline.ErrInterrupt):
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(t.app.Out)
			return nil
		case err != nil:
			return fmt.Errorf("cannot read from the terminal: %w", err)
		case strings.TrimSpace(code) == "":
			continue
		}
		if end, err := t.sayInterruptibly(ctx, cancel, code+"\n"); end || err != nil {
			return because(ctx, err)
		}
	}
}

// sayInterruptibly runs code which Ctrl-C interrupts, and a second Ctrl-C ends.
func (t *conversation) sayInterruptibly(ctx context.Context, cancel context.CancelCauseFunc, code string) (end bool, err error) {
	inner, kill := context.WithCancel(ctx)
	defer kill()
	pressed := make(chan os.Signal, 1)
	signal.Notify(pressed, syscall.SIGINT)
	defer signal.Stop(pressed)
	go func() {
		for n := 1; ; n++ {
			select {
			case <-pressed:
				if n > 1 {
					kill()
					continue
				}
				// Fails only when the code is gone already.
				_ = t.session.Interrupt()
			case <-inner.Done():
				return
			}
		}
	}()
	end, err = t.say(inner, cancel, code)
	if err != nil && inner.Err() != nil && ctx.Err() == nil {
		fmt.Fprintln(t.app.Err, "cellblock: the code was ended; variables may be lost, files are kept")
		return false, nil
	}
	return end, err
}

// untilHangup is untilSignal without SIGINT, which is the code's.
func untilHangup() (context.Context, context.CancelCauseFunc, func()) {
	return untilOneOf(syscall.SIGTERM, syscall.SIGHUP)
}

// complete returns the names that the word before the cursor can become. What
// the cell answers is shown on a terminal: only names are taken.
func (t *conversation) complete(ctx context.Context, text string) readline.Completions {
	word := lastWord(text)
	if word == "" {
		if line := text[strings.LastIndexByte(text, '\n')+1:]; strings.TrimSpace(line) == "" {
			c := readline.CompleteValues(line + "    ")
			c.PREFIX = line
			return c
		}
		return readline.Completions{}
	}
	names, err := t.session.Complete(ctx, word)
	if err != nil {
		return readline.Completions{}
	}
	var values []string
	for _, name := range names {
		if strings.HasPrefix(name, word) && len(name) < 200 && isDotted(strings.TrimRight(name, "() :")) {
			values = append(values, strings.TrimRight(name, " :"))
		}
	}
	c := readline.CompleteValues(values...)
	c.PREFIX = word
	return c
}

// lastWord is the dotted name that text ends with. The editor counts the bytes
// of a word, so one with letters outside ASCII is not completed.
func lastWord(text string) string {
	word := text[strings.LastIndexFunc(text, isNoNameRune)+1:]
	if !isDotted(word) {
		return ""
	}
	return word
}

// isDotted says whether s is made of what names in ASCII are made of, and dots.
func isDotted(s string) bool { return s != "" && strings.IndexFunc(s, isNoNameRune) < 0 }

func isNoNameRune(r rune) bool {
	return r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// historyFile is where earlier input is kept, readable by its owner alone; ""
// when there is no place for it.
func historyFile() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	dir = filepath.Join(dir, "cellblock")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ""
	}
	return filepath.Join(dir, "history")
}
