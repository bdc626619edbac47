package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// A machine is a running emulator.
type machine struct {
	cmd     *exec.Cmd
	out     *os.File // what the tests print
	log     string   // the console's text
	written string   // the archive of packWritten
	ended   chan struct{}
}

// commandLine is the kernel's. What guards a real machine against its
// neighbours only costs time here. quota.service switches the second processor on.
const commandLine = "root=/dev/vda rw maxcpus=1 mitigations=off quiet panic=-1 console=ttyS0 net.ifnames=0 systemd.unit=multi-user.target systemd.show_status=0 random.trust_cpu=on loglevel=4"

// qemu is the emulator's command. Without an accelerator of hardware: a CPU
// model must be one that it emulates to the kernel's liking, which "max" is not, and features that it lacks are warned of.
func (i *image) qemu(ctx context.Context, payload, kernelArgs string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{
		"-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Haswell-noTSX,-cx16,-pcid,-x2apic,-tsc-deadline,-invpcid", "-smp", "2", "-m", "3072",
		"-nodefaults", "-no-reboot", "-display", "none", "-nic", "none",
		"-kernel", i.kernel(), "-initrd", i.initrd(), "-append", commandLine + kernelArgs,
		"-drive", "file=" + i.disk() + ",format=raw,if=virtio,snapshot=on",
		"-drive", "file=" + payload + ",format=raw,if=virtio,readonly=on",
	}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// numberKey is where the machine finds on its kernel's command line which of
// machines it is.
const numberKey = "cellblock.machine="

// boot starts the machine of a number, which runs its tests and powers off.
func (i *image) boot(ctx context.Context, number int, work, payload string) (*machine, error) {
	m := &machine{
		log:     filepath.Join(work, fmt.Sprintf("console-%d.log", number)),
		written: filepath.Join(work, fmt.Sprintf("written-%d.tar", number)),
		ended:   make(chan struct{}),
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	m.out = r
	// A file and not stdio: at the end of its standard input the port would be
	// disconnected, and the guest's writes wait for ever.
	m.cmd = i.qemu(ctx, payload, fmt.Sprintf(" systemd.mask=serial-getty@ttyS0.service %s%d", numberKey, number), // nobody logs in, and no session begins beside the tests
		"-serial", "file:"+m.log,
		"-device", "virtio-serial-pci",
		"-chardev", "file,id=results,path=/dev/fd/3",
		"-device", "virtserialport,chardev=results,name=results",
		"-chardev", "file,id=written,path="+m.written,
		"-device", "virtserialport,chardev=written,name=written")
	m.cmd.ExtraFiles, m.cmd.Stderr = []*os.File{w}, os.Stderr
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		m.cmd.Wait()
		close(m.ended)
	}()
	return m, nil
}

// end kills the machine, if it has not powered itself off.
func (m *machine) end() {
	m.cmd.Process.Kill()
	<-m.ended
	m.out.Close()
}

// lastLine carries the exit status out of the machine.
const lastLine = "cellblock-vm: exit "

// results copies what the tests print until their last line, and returns the
// status in it. A machine that ends before it is an error with its console.
func (m *machine) results(ctx context.Context, to io.Writer) (int, error) {
	in := bufio.NewReader(m.out)
	for {
		line, err := in.ReadString('\n')
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), lastLine); ok {
			status, err := strconv.Atoi(text)
			if console, _ := os.ReadFile(m.log); status != 0 {
				fmt.Fprintf(to, "# the end of the machine's console:\n%s\n", tail(console, 4000))
			}
			return status, err
		}
		io.WriteString(to, line)
		if err != nil {
			break
		}
	}
	<-m.ended
	why := errors.New("the machine ended before its tests did")
	if ctx.Err() != nil {
		why = context.Cause(ctx)
	}
	console, err := os.ReadFile(m.log)
	return 1, errors.Join(fmt.Errorf("%w; the end of its console:\n%s", why, tail(console, 4000)), err)
}

// An outcome is what a machine's tests print and what they came to. It keeps the
// text until it is its turn.
type outcome struct {
	done chan struct{} // closed when code and err are set
	code int
	err  error

	mu   sync.Mutex
	kept bytes.Buffer
	to   io.Writer // nil before its turn
}

// await reads a machine's results while it runs.
func (m *machine) await(ctx context.Context) *outcome {
	o := &outcome{done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.code, o.err = m.results(ctx, o)
	}()
	return o
}

func (o *outcome) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.to != nil {
		return o.to.Write(b)
	}
	return o.kept.Write(b)
}

// turn passes on what was printed and all that will be, until the machine ends.
func (o *outcome) turn(to io.Writer) {
	o.mu.Lock()
	o.to = to
	o.kept.WriteTo(to)
	o.mu.Unlock()
	<-o.done
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
