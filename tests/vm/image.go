package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// recipe counts changes of the building that no list below shows.
const recipe = 1

// packages are what the release's base does not bring.
var packages = []string{
	"linux-image-cloud-amd64",
	"systemd", "systemd-sysv", "udev", "kmod",
	"dbus", "libpam-systemd", "dbus-user-session", "login", // sessions of users, as on a server
	"python3", "python3-numpy", // what cells are made from
	"iproute2", "procps",
	"podman", "crun", "uidmap", // containers that cells are made in
	"apparmor", // the profile of containers, and the package's own
}

// left out: what nobody reads in there.
var leftOut = []string{"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"}

// imageSize is that of the machine's disk; what is not used takes no room.
const imageSize = "2G"

// guest holds the files that are put into the image, by their paths in it.
//
//go:embed guest
var guest embed.FS

// An image is a built machine of a release.
type image struct{ dir, release string }

func (i *image) disk() string   { return filepath.Join(i.dir, "disk.ext4") }
func (i *image) kernel() string { return filepath.Join(i.dir, "vmlinuz") }
func (i *image) initrd() string { return filepath.Join(i.dir, "initrd") }

// prepareAll finds or builds the images of releases, side by side.
func prepareAll(ctx context.Context, releases []string) (map[string]*image, error) {
	var (
		group  sync.WaitGroup
		images = make([]*image, len(releases))
		errs   = make([]error, len(releases))
	)
	for i, release := range releases {
		group.Go(func() {
			runtime.LockOSThread() // a program that builds dies with the thread that started it
			defer runtime.UnlockOSThread()
			images[i], errs[i] = prepare(ctx, release)
		})
	}
	group.Wait()
	all := map[string]*image{}
	for i, release := range releases {
		all[release] = images[i]
	}
	return all, errors.Join(errs...)
}

// prepare finds a release's image of this recipe, or builds it.
func prepare(ctx context.Context, release string) (*image, error) {
	cache := os.Getenv("CELLBLOCK_VM_CACHE")
	if cache == "" {
		cache = "/var/cache/cellblock-vm"
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	digest, err := recipeDigest(release)
	if err != nil {
		return nil, err
	}
	img := &image{filepath.Join(cache, digest), release}
	lock, err := os.OpenFile(filepath.Join(cache, digest+".lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // one builds, the others wait
		return nil, os.NewSyscallError("flock", err)
	}
	if _, err := os.Stat(img.dir); err == nil {
		return img, nil
	}
	fmt.Fprintf(os.Stderr, "building the image of a machine with %s in %s (two minutes)\n", release, img.dir)
	return img, build(ctx, img)
}

// recipeDigest names all that the image is made from but for the mirror.
func recipeDigest(release string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, recipe, release, packages, leftOut, masked, imageSize)
	err := fs.WalkDir(guest, "guest", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := guest.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(b), b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}

// build makes the image beside its place and moves it there when it is whole.
func build(ctx context.Context, img *image) (err error) {
	work, err := os.MkdirTemp(filepath.Dir(img.dir), "building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	mirror, err := mirrorOf("/etc/apt")
	if err != nil {
		return err
	}
	tree, placed := filepath.Join(work, "tree"), filepath.Join(work, "guest")
	if err := placeGuest(placed); err != nil {
		return err
	}
	args := []string{"--variant=minbase", "--mode=root", "--quiet", "--include=" + strings.Join(packages, ",")}
	for _, p := range leftOut {
		args = append(args, "--dpkgopt=path-exclude="+p)
	}
	// Before the kernel is installed, whose initrd is made by these files.
	args = append(args, "--essential-hook=sync-in "+placed+" /")
	if err := run(ctx, "mmdebstrap", append(args, img.release, tree, mirror)...); err != nil {
		return err
	}
	if err := spareFirstBoot(tree); err != nil {
		return err
	}
	for to, from := range map[string]string{"vmlinuz": "vmlinuz", "initrd": "initrd.img"} {
		path, err := filepath.EvalSymlinks(filepath.Join(tree, from))
		if err != nil {
			return err
		}
		if err := os.Rename(path, filepath.Join(work, to)); err != nil {
			return err
		}
	}
	disk := filepath.Join(work, "disk.ext4")
	if err := run(ctx, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, disk, imageSize); err != nil {
		return err
	}
	if err := os.RemoveAll(tree); err != nil {
		return err
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	return os.Rename(work, img.dir)
}

// masked units are of no use in a machine that lives for minutes.
var masked = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer", "systemd-tmpfiles-clean.timer",
	"systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
	"sys-fs-fuse-connections.mount", "systemd-pstore.service", "systemd-journal-flush.service", "systemd-random-seed.service",
	"systemd-hibernate-clear.service", "systemd-update-utmp.service", "getty@tty1.service", "systemd-pcrmachine.service",
	"modprobe@configfs.service", "modprobe@drm.service", "modprobe@fuse.service", "modprobe@efi_pstore.service", "modprobe@dm_mod.service", "modprobe@loop.service",
	"sys-kernel-config.mount", "systemd-modules-load.service", "kmod-static-nodes.service", "systemd-udev-load-credentials.service",
	"apparmor.service", // it would translate a hundred profiles at each boot: tests load those they need
	"systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-tpm2-setup.service", "systemd-tpm2-setup-early.service",
}

// placeGuest writes the files of guest/ below a directory, and the links that
// `systemctl enable` and `systemctl mask` would make.
func placeGuest(dir string) error {
	files, err := fs.Sub(guest, "guest")
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	units := filepath.Join(dir, "etc/systemd/system")
	links := map[string]string{
		"multi-user.target.wants/cellblock-tests.service": "../cellblock-tests.service",
		"sysinit.target.wants/quota.service":              "../quota.service",
	}
	for _, m := range masked {
		links[m] = "/dev/null"
	}
	for name, target := range links {
		path := filepath.Join(units, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, path); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(dir, "payload"), 0o755)
}

// spareFirstBoot takes away what systemd does on a machine's first boot, which
// each boot of this image is.
func spareFirstBoot(tree string) error {
	if err := os.WriteFile(filepath.Join(tree, "etc/machine-id"), []byte("ce11b10c000000000000000000000001\n"), 0o444); err != nil {
		return err
	}
	for _, name := range []string{"etc/.updated", "var/.updated"} { // systemd-update-done.service(8)
		path := filepath.Join(tree, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return err
		}
		future := time.Now().Add(24 * time.Hour)
		if err := os.Chtimes(path, future, future); err != nil {
			return err
		}
	}
	return nil
}

// mirrorOf reads from apt's own sources where the host gets its release.
func mirrorOf(apt string) (string, error) {
	host, err := codename("/etc/os-release")
	if err != nil {
		return "", err
	}
	files, _ := filepath.Glob(apt + "/sources.list.d/*")
	for _, file := range append([]string{apt + "/sources.list"}, files...) {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if uri := mirrorIn(string(b), host); uri != "" {
			return uri, nil
		}
	}
	return "", fmt.Errorf("no source of %q with its component main is in %s", host, apt)
}

// mirrorIn finds the mirror of a release in one of apt's files, in the one-line
// or the deb822 style; "" when it is not there.
func mirrorIn(text, release string) string {
	uri, suites := "", ""
	for line := range strings.Lines(text + "\n\n") {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, "deb "):
			f := strings.Fields(line)[1:]
			for len(f) > 0 && (strings.HasPrefix(f[0], "[") || strings.HasSuffix(f[0], "]")) {
				f = f[1:] // [options]
			}
			if len(f) > 2 && f[1] == release {
				return f[0]
			}
		case strings.EqualFold(key, "URIs"):
			if f := strings.Fields(value); len(f) > 0 {
				uri = f[0]
			}
		case strings.EqualFold(key, "Suites"):
			suites = value
		case line == "":
			for s := range strings.FieldsSeq(suites) {
				if s == release && uri != "" {
					return uri
				}
			}
			uri, suites = "", ""
		}
	}
	return ""
}

func codename(osRelease string) (string, error) {
	f, err := os.Open(osRelease)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", fmt.Errorf("%s names no release", osRelease)
}

// run runs a program and shows what it printed only when it fails.
//
// It has a mount namespace of its own: what it mounts into a tree is gone when
// it ends, however it ends, before the tree is removed.
func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot run %s: %w\n%s", name, err, out)
	}
	return nil
}
