package escape

import (
	"testing"
	"time"
)

func TestNetwork(t *testing.T) { table(t, networkProbes) }

var networkProbes = []probe{
	{n: "1", name: "socket", code: `print(E(socket.socket))`, want: "EAFNOSUPPORT"},
	{n: "1", name: "the exception a program sees", code: `socket.socket()`, exc: "OSError"},
	{n: "2", name: "every family and type", code: `
odd('EAFNOSUPPORT', {(f, k): S('socket', f, k, 0) for f in range(46) for k in (1, 2, 3, 4, 5, 10, 1 | 0o2000000)})
odd('EAFNOSUPPORT', {(f, k): S('socketpair', f, k, 0, ctypes.byref((ctypes.c_int * 2)())) for f in range(46) if f != 1 for k in (1, 2, 5)})
`, want: "EAFNOSUPPORT\nEAFNOSUPPORT"},
	{n: "3", name: "high bits in the family", code: `
odd('EAFNOSUPPORT', {f: S('socket', HIGH | f, HIGH | 1, 0) for f in (1, 2, 10, 16, 17, 38, 40)})
print(S(41 if X86 else 198, 1 << 32 | 40, 1, 0))
`, want: "EAFNOSUPPORT\nEAFNOSUPPORT"},
	{n: "4", name: "a pair works", code: `
import asyncio
a, b = socket.socketpair()
a.send(b'x'); print(b.recv(1))
async def f(): await asyncio.sleep(0); return 'asyncio'
print(asyncio.run(f()))
`, want: "b'x'\nasyncio"},
	{n: "4", name: "no descriptor crosses a pair", code: `
a, b = socket.socketpair()
print(E(socket.send_fds, a, [b'x'], [0]), E(socket.recv_fds, b, 1, 1))
print(E(a.sendmsg, [b'x']), E(b.recvmsg, 1), S('sendmmsg', a.fileno(), 0, 0, 0), S('recvmmsg', a.fileno(), 0, 0, 0, 0))
`, want: "EPERM EPERM\nEPERM EPERM EPERM EPERM"},
	{n: "4", name: "no descriptor crosses to the host", code: `
c = socket.socket(fileno=os.dup(3))
print(E(socket.send_fds, c, [b'x'], [0]), E(c.getsockopt, 1, 77), E(c.setsockopt, 1, 26, b'0' * 16))
`, want: "EPERM ENOPROTOOPT ENOPROTOOPT"},
	{n: "5", name: "metadata address and names", code: `
import urllib.request
began = time.monotonic()
print(E(urllib.request.urlopen, 'http://169.254.169.254/latest/meta-data/', timeout=5))
print(E(socket.getaddrinfo, 'example.org', 80))
print(E(socket.create_connection, ('127.0.0.1', @PORT@)))
print(time.monotonic() - began < @PACE@)
`, want: "URLError\ngaierror\nEAFNOSUPPORT\nTrue", within: 2 * time.Second},
	{n: "6", name: "listeners of the host", code: `
def reach(family, address):
    n = R('socket', family, 1, 0)
    if n < 0:
        return errno.errorcode[-n]
    return E(socket.socket(fileno=n).connect, address)
print(reach(2, ('127.0.0.1', @PORT@)), reach(1, '\0@ABSTRACT@'), reach(1, '/run/docker.sock'))
`, want: "EAFNOSUPPORT EAFNOSUPPORT EAFNOSUPPORT"},
	{n: "6", name: "a pair is no way to an address", code: `
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
name = '\0@ABSTRACT@'
print(E(a.connect, name), E(a.sendto, b'x', name), E(a.bind, '\0mine'), E(a.listen, 1), E(a.accept), E(a.send, b'x', socket.MSG_OOB))
c = socket.socket(fileno=os.dup(3))
print(E(c.connect, name), E(c.bind, '\0mine'))
`, want: "EPERM EPERM EPERM EPERM EPERM EPERM\nEPERM EPERM"},
	{n: "6", name: "no interface but its own loopback", code: `
print([l.split(':')[0].strip() for l in open('/proc/self/net/dev').readlines()[2:]])
print('@ABSTRACT@' in open('/proc/self/net/unix').read(), len(open('/proc/self/net/tcp').readlines()))
print(E(os.stat, '/proc/net/dev'), E(os.stat, '/sys/class/net'))
`, want: "['lo']\nFalse 1\nENOENT ENOENT"},
}
