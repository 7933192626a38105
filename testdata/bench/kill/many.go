package kill

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"stormcheck/testdata/bench/timing"
)

// manyCores is the benchmark many-cores: killstorm stops all processes before it kills
// them, the others only kill.
var manyCores = benchmark{
	storms: []storm{
		{"600 that fork each second", "600", "600", "1000"},
		{"600 that fork every 50 ms", "600", "600", "50"},
		{"600 that fork every 5 ms", "600", "600", "5"},
		{"2,000 that fork each second", "2000", "2000", "1000"},
		{"2,000 that fork every 50 ms", "2000", "2000", "50"},
		{"2,000 that fork every 5 ms", "2000", "2000", "5"},
	},
	killers: []killer{
		{"killstorm", "normal", killstorm},
		{"kill-only loop in C", "normal", killOnly},
		{"pkill -9 loop", "normal", pkill},
		{"killstorm", "realtime", killstorm},
		{"kill-only loop in C", "realtime", killOnly},
		{"pkill -9 loop", "realtime", pkill},
	},
}

const killOnly = `exec killonly bench-imapd 60990`

// ManyCores runs the benchmark many-cores. Debian's cloud kernel boots on an emulated
// machine of eight processors, from a file system in memory that holds this program as
// its init, static busybox, storm and killers, and pkill of procps. The kernel is
// downloaded into build/many-cores once, and is not installed. The emulator has a thread
// for each processor, but they share those of this machine, so all is several times
// slower than on such a machine.
func ManyCores() {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "run":
		timing.Check(manyCores.inside())
	case os.Getpid() == 1:
		guest()
	default:
		timing.Check(emulate())
	}
}

// guest is the emulated machine's init. If it fails, the kernel panics, which ends the
// emulator.
func guest() {
	timing.Check(unix.Mount("proc", "/proc", "proc", 0, ""))
	timing.Check(unix.Mount("dev", "/dev", "devtmpfs", 0, ""))
	timing.Check(manyCores.compare("/bench"))
	timing.Check(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}

// emulate makes the machine and boots it, with this benchmark's arguments.
func emulate() error {
	const kernel = "build/many-cores/vmlinuz"
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root, image := filepath.Join(dir, "root"), filepath.Join(dir, "initrd")
	if err := errors.Join(fetchKernel(kernel), populate(root), pack(root, image)); err != nil {
		return err
	}
	args := append([]string{"console=ttyS0 loglevel=2 panic=-1 rdinit=/bench/bench -- many-cores"}, os.Args[1:]...)
	cmd := exec.Command("qemu-system-x86_64", "-smp", "8", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "3G",
		"-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", kernel, "-initrd", image, "-append", strings.Join(args, " "))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// fetchKernel has apt-get download the package that linux-image-cloud-amd64 depends on,
// unless the kernel is there.
func fetchKernel(kernel string) error {
	if _, err := os.Stat(kernel); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	depends, err := exec.Command("apt-cache", "depends", "linux-image-cloud-amd64").Output()
	if err != nil {
		return fmt.Errorf("apt-cache: %w", err)
	}
	name := regexp.MustCompile(`linux-image-[0-9.+-]*-cloud-amd64`).FindString(string(depends))
	if name == "" {
		return errors.New("linux-image-cloud-amd64 names no kernel")
	}
	dir := filepath.Dir(kernel)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	script := `cd "$1" && apt-get -qq download "$2" && dpkg-deb -x "$2"_*.deb . && mv boot/vmlinuz-* vmlinuz && rm -r boot lib usr "$2"_*.deb`
	return timing.Run("sh", "-ec", script, "sh", dir, name)
}

// populate makes the emulated machine's files below root.
func populate(root string) error {
	bench := filepath.Join(root, "bench")
	for _, dir := range []string{"bench", "proc", "dev", "etc", "bin", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	err := errors.Join(
		timing.Run("go", "build", "-o", filepath.Join(bench, "bench"), "./testdata/bench"),
		timing.Build(bench, "killstorm"),
		timing.Compile(bench, "lower", "-static"),
		timing.Compile(bench, "storm", "-static"),
		timing.Compile(bench, "killonly", "-static"),
		timing.Run("cp", "/bin/busybox", filepath.Join(root, "bin/busybox")),
		os.Symlink("busybox", filepath.Join(root, "bin/sh")),
		os.WriteFile(filepath.Join(root, "etc/passwd"), nil, 0o644),
	)
	if err != nil {
		return err
	}
	if linked, err := exec.Command("ldd", "/bin/busybox").Output(); err == nil {
		return fmt.Errorf("/bin/busybox is not static (install busybox-static): %s", linked)
	}
	linked, err := exec.Command("ldd", "/usr/bin/pkill").Output()
	if err != nil {
		return fmt.Errorf("ldd: %w", err)
	}
	needs := regexp.MustCompile(`/\S+`).FindAllString(string(linked), -1)
	return timing.Run(append([]string{"cp", "-L", "--parents", "-t", root, "/usr/bin/pkill"}, needs...)...)
}

// pack writes the files below root into an archive that the kernel unpacks.
func pack(root, image string) error {
	return timing.Run("sh", "-c", `cd "$1" && find . | busybox cpio -o -H newc >"$2"`, "sh", root, image)
}
