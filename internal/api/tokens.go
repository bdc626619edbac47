package api

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Tokens are the bearer tokens that are let in: names, and hashes of secrets.
// The nil value lets nobody in.
type Tokens struct{ byHash map[[sha256.Size]byte]string }

// LoadTokens reads a file with one token a line, its name and the SHA-256 of the
// secret in hexadecimal: `ci sha256:1f8a…`. Empty lines and those that begin with
// # mean nothing. Others must not be able to write to the file.
func LoadTokens(path string) (*Tokens, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the tokens: %w: put a line into it for each caller, which `cellblock config token NAME` makes", err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the tokens: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot read the tokens: %w", err)
	}
	if own, ok := st.Sys().(*syscall.Stat_t); !ok || st.Mode().Perm()&0o022 != 0 || own.Uid != 0 && int(own.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("the tokens in %q could be changed by others: it must belong to root or to this user, and nobody else may write to it", path)
	}
	t := &Tokens{byHash: map[[sha256.Size]byte]string{}}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		var hash [sha256.Size]byte
		bad := len(fields) != 2 || len(fields[0]) > 64
		if !bad {
			text, ok := strings.CutPrefix(fields[1], "sha256:")
			b, err := hex.DecodeString(text)
			bad = !ok || err != nil || copy(hash[:], b) != sha256.Size || len(b) != sha256.Size
		}
		if bad {
			return nil, fmt.Errorf("%s:%d: write a token as: NAME sha256:HEX", path, n)
		}
		t.byHash[hash] = fields[0]
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the tokens: %w", err)
	}
	return t, nil
}

// NewToken makes a secret, and the line that lets it in.
func NewToken(name string) (secret, line string) {
	secret = "cb_" + rand.Text() + rand.Text()
	hash := sha256.Sum256([]byte(secret))
	return secret, name + " sha256:" + hex.EncodeToString(hash[:])
}

// find looks a secret up by its hash, so that the time it takes tells nothing
// of the secrets that there are.
func (t *Tokens) find(secret string) (name string, ok bool) {
	if t == nil {
		return "", false
	}
	name, ok = t.byHash[sha256.Sum256([]byte(secret))]
	return name, ok
}
