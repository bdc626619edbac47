package seccomp

// From the kernel's socket headers.
const (
	afUnix = 1
	msgOob = 0x1

	solSocket    = 1
	soReuseaddr  = 2
	soType       = 3
	soError      = 4
	soSndbuf     = 7
	soRcvbuf     = 8
	soKeepalive  = 9
	soLinger     = 13
	soPeercred   = 17
	soRcvtimeo   = 20
	soSndtimeo   = 21
	soAcceptconn = 30
	soProtocol   = 38
	soDomain     = 39
)

// sockets: there is no network, and no descriptor can be handed over.
//
// All that remains is a connected pair within the cell, which asyncio and
// multiprocessing need. Without sendmsg and recvmsg there is no SCM_RIGHTS:
// not between the processes of the cell, not to the host over the control
// channel, and not to the kernel's collector of descriptors in flight.
func sockets() []Row {
	return []Row{
		{Calls: "socket", Do: NoFamily, Why: "no network of any family; the error that a kernel without the family gives"},
		{Calls: "socketpair", Do: Allow, When: oneOf(0, afUnix), Else: NoFamily, Why: "asyncio wakes its loop with a pair of unix sockets"},
		{Calls: "connect bind listen accept accept4", Do: NotPermitted, Why: "a pair is connected already; naming one would reach for other sockets"},
		{Calls: "sendmsg recvmsg sendmmsg recvmmsg", Do: NotPermitted, Why: "they carry SCM_RIGHTS, and the filter cannot look into their argument"},
		{
			Calls: "sendto", Do: Allow, Else: NotPermitted,
			When: []Match{{{3, msgOob, 0}, {4, all64, 0}}},
			Why:  "send; with no address, since one would reach sockets that are not the peer, and not out of band (CVE-2025-38236)",
		},
		{Calls: "recvfrom", Do: Allow, When: none(3, msgOob), Else: NotPermitted, Why: "recv; not out of band (CVE-2025-38236)"},
		{Calls: "shutdown getsockname getpeername", Do: Allow, Why: "the rest of a pair's life"},
		{
			Calls: "getsockopt", Do: Allow, Else: NoOption,
			When: socketOptions(soReuseaddr, soType, soError, soSndbuf, soRcvbuf, soKeepalive, soLinger, soPeercred, soRcvtimeo, soSndtimeo, soAcceptconn, soProtocol, soDomain),
			Why:  "what socket.socket(fileno=…) asks; not SO_PEERPIDFD, which on the control channel would hand out a pidfd of the host's process",
		},
		{
			Calls: "setsockopt", Do: Allow, Else: NoOption,
			When: socketOptions(soReuseaddr, soSndbuf, soRcvbuf, soKeepalive, soLinger, soRcvtimeo, soSndtimeo),
			Why:  "buffer sizes and timeouts; not SO_ATTACH_FILTER, which brings a program into the kernel",
		},
	}
}

func socketOptions(options ...uint64) []Match {
	m := make([]Match, len(options))
	for i, o := range options {
		m[i] = Match{{1, low32, solSocket}, {2, low32, o}}
	}
	return m
}
