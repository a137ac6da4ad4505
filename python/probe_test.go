// Package python tests the PyTorch probe; there is no Go code in it.
package python

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// interpreter returns a Python that has torch, or skips the test.
func interpreter(t *testing.T) string {
	t.Helper()
	for _, python := range []string{os.Getenv("KELVIN_PYTHON"), "/usr/bin/python3", "python3"} {
		if python != "" && exec.Command(python, "-c", "import torch").Run() == nil {
			return python
		}
	}
	t.Skip("SKIP: no python3 with torch (Debian: python3-torch)")
	return ""
}

// TestProbe runs the probe's own tests.
func TestProbe(t *testing.T) {
	c := exec.Command(interpreter(t), "-m", "unittest", "discover", "-s", "tests")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "\nOK") {
		t.Errorf("expected OK, got\n%s", out)
	}
}
