// Package python tests the PyTorch probe; there is no Go code in it.
package python

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// with returns a Python that has a library, or skips the test.
func with(t *testing.T, library string) string {
	t.Helper()
	for _, python := range []string{os.Getenv("KELVIN_PYTHON"), "/usr/bin/python3", "python3"} {
		if python != "" && exec.Command(python, "-c", "import "+library).Run() == nil {
			return python
		}
	}
	t.Skipf("SKIP: no python3 with %s (Debian: python3-torch, python3-numpy); KELVIN_PYTHON names another python", library)
	return ""
}

// TestProbe runs the probe's own tests.
func TestProbe(t *testing.T) {
	c := exec.Command(with(t, "torch"), "-m", "unittest", "discover", "-s", "tests")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "\nOK") {
		t.Errorf("expected OK, got\n%s", out)
	}
}
