/*
 * Simulates an environment in which the scanner hook cannot be installed, or only with difficulty. Loaded before
 * Helios; a macro selects the obstacle:
 *
 * NO_READ	the kernel forbids process_vm_readv, as containers do
 * NO_WRITE	the kernel forbids making memory writable, as hardened systems do
 * NO_ZONE	the keyword ZONE is not found, as if the scanner worked differently
 */
#include "postgres.h"

#include <errno.h>
#include <stddef.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "common/keywords.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

#if defined(NO_READ) || defined(NO_WRITE)

static void
forbid(struct sock_filter *filter, unsigned short length)
{
	struct sock_fprog program = {.len = length,.filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		elog(FATAL, "cannot forbid a system call: %m");
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define DENY BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

void
_PG_init(void)
{
#ifdef NO_READ
	struct sock_filter filter[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_process_vm_readv, 0, 1),
		DENY,
		ALLOW,
	};
#else
	struct sock_filter filter[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mprotect, 0, 3),
		LOAD(args[2]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_WRITE, 0, 1),
		DENY,
		ALLOW,
	};
#endif

	forbid(filter, lengthof(filter));
}

#else							/* NO_ZONE */

static ScanKeywordHashFunc original;

static int
without_zone(const void *key, size_t length)
{
	if (length == 4 && pg_strncasecmp(key, "zone", 4) == 0)
		return -1;
	return original(key, length);
}

void
_PG_init(void)
{
	ScanKeywordHashFunc *slot = (ScanKeywordHashFunc *) &ScanKeywords.hash;
	char	   *page = (char *) ((uintptr_t) slot & ~(uintptr_t) 4095);

	if (mprotect(page, 8192, PROT_READ | PROT_WRITE) != 0)
		elog(FATAL, "cannot write to the table of key words: %m");
	original = *slot;
	*slot = without_zone;
	if (mprotect(page, 4096, PROT_READ) != 0)
		elog(FATAL, "cannot protect the table of key words: %m");
}

#endif
