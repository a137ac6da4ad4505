package python

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/monitor"
	"github.com/kelvin-ml/kelvin/run"
)

// TestDocumentedWriter runs the writer that docs/probe.md shows, and reads the
// temperature that theory gives for it: ησ²/2B = 0.1/64.
func TestDocumentedWriter(t *testing.T) {
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import numpy").Run() != nil {
		t.Skip("SKIP: no python3 with numpy (Debian: python3-numpy)")
	}
	text, err := os.ReadFile("../docs/probe.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, found := strings.Cut(string(text), "```python\nimport json, os, time")
	program, _, closed := strings.Cut(program, "```")
	if !found || !closed {
		t.Fatal("docs/probe.md shows no writer")
	}
	c := exec.Command(python, "-c", "import json, os, time"+program)
	c.Dir = t.TempDir()
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m := monitor.New()
	for record, err := range run.Records(filepath.Join(c.Dir, "runs", "numpy")) {
		if err != nil {
			t.Fatal(err)
		}
		m.Add(record)
	}
	r := m.Report()
	if got := r.Temperature; !got.Valid() || math.Abs(got.Value-0.1/64) > 3*got.StdErr {
		t.Errorf("temperature %v, expected %g", got, 0.1/64)
	}
	if len(r.Findings) > 0 || len(r.Problems) > 0 {
		t.Errorf("%+v %v", r.Findings, r.Problems)
	}
}
