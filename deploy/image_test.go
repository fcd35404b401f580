//go:build linux

package deploy

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProgramRunsInTheImage runs what the Dockerfile starts where it starts it:
// in a root that holds the program and an empty /data, as the image's user, with
// the image's environment; and asks for its health as the engine would.
func TestProgramRunsInTheImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change the root")
	}
	image := final(t)
	root := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(root, "rolecall"), "../cmd/rolecall")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const user = 65532
	data := filepath.Join(root, image["VOLUME"])
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, user, user); err != nil {
		t.Fatal(err)
	}
	// The port is the only thing that a container has to itself and a test has not.
	environment := append(strings.Fields(image["ENV"]), "ROLECALL_LISTEN="+freeAddress(t))
	command := func(words ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
		cmd.Dir, cmd.Env = image["WORKDIR"], environment
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}, Pdeathsig: syscall.SIGKILL,
		}
		return cmd
	}
	var output strings.Builder
	server := command(append(list(t, image["ENTRYPOINT"]), list(t, image["CMD"])...)...)
	server.Stdout, server.Stderr = &output, &output
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	_, check, _ := strings.Cut(image["HEALTHCHECK"], "CMD ")
	var health error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if health = command(list(t, check)...).Run(); health == nil {
			break
		}
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("the end of the server: %v", err)
	}
	if health != nil {
		t.Errorf("its health: %v\n%s", health, output.String())
	}
	if err := command(list(t, check)...).Run(); err == nil {
		t.Error("it is healthy after its end")
	}
}

// list reads the JSON form of an instruction's command.
func list(t *testing.T, command string) []string {
	t.Helper()
	var words []string
	if err := json.Unmarshal([]byte(command), &words); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return words
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
