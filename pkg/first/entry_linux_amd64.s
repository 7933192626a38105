#include "textflag.h"

// start is the program's entry point. It raises the only thread, as init does, and jumps to
// Go's entry point. The stack is as the kernel left it.
TEXT ·start(SB),NOSPLIT|NOFRAME,$0
	MOVL	$145, AX // sched_getscheduler
	XORL	DI, DI
	SYSCALL
	TESTQ	AX, AX
	JNE	begin // not SCHED_OTHER: the parent has set it
	PUSHQ	$1 // struct sched_param: the lowest priority
	MOVL	$144, AX // sched_setscheduler
	XORL	DI, DI
	MOVL	$2, SI // SCHED_RR
	MOVQ	SP, DX
	SYSCALL
	ADDQ	$8, SP
begin:
	XORL	DX, DX // no function for atexit(3), as from the kernel
	JMP	_rt0_amd64_linux(SB)
