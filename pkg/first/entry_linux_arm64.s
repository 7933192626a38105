#include "textflag.h"

// start does the same as in entry_linux_amd64.s.
TEXT ·start(SB),NOSPLIT|NOFRAME,$0
	MOVD	$120, R8 // sched_getscheduler
	MOVD	$0, R0
	SVC
	CBNZ	R0, begin // not SCHED_OTHER: the parent has set it
	SUB	$16, RSP
	MOVW	$1, R1 // struct sched_param: the lowest priority
	MOVW	R1, (RSP)
	MOVD	$119, R8 // sched_setscheduler
	MOVD	$2, R1 // SCHED_RR
	MOVD	RSP, R2
	SVC
	ADD	$16, RSP
begin:
	B	_rt0_arm64_linux(SB)
