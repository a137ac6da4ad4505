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

// TestDocumentedWriters runs the writers that docs/probe.md shows, and reads the
// temperature that theory gives for them: ησ²/2B = 0.1/64.
func TestDocumentedWriters(t *testing.T) {
	text, err := os.ReadFile("../docs/probe.md")
	if err != nil {
		t.Fatal(err)
	}
	libraries := []string{"numpy"}
	if os.Getenv("KELVIN_PYTHON") != "" { // Debian has no JAX
		libraries = append(libraries, "jax")
	}
	for _, library := range libraries {
		t.Run(library, func(t *testing.T) {
			python := with(t, library)
			begin := "import json, os, time\nimport " + library
			_, program, found := strings.Cut(string(text), "```python\n"+begin)
			program, _, closed := strings.Cut(program, "```")
			if !found || !closed {
				t.Fatal("docs/probe.md shows no writer")
			}
			c := exec.Command(python, "-c", begin+program)
			c.Dir = t.TempDir()
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			m := monitor.New()
			for record, err := range run.Records(filepath.Join(c.Dir, "runs", library)) {
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
		})
	}
}
