/* What sendmsg and recvmsg take. */
#define MAX_FDS 96 /* that one message carries; the kernel allows 253 */

struct iovec_ { void *base; size_t len; };
struct msghdr_ {
	void *name; int namelen; struct iovec_ *iov; size_t iovlen;
	void *control; size_t controllen; int flags;
};
struct cmsg_ { size_t len; int level, type; int fd[MAX_FDS]; };
