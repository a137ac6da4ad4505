package run

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocumentedWriter runs the writer that docs/run-format.md shows.
func TestDocumentedWriter(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIP: there is no python3")
	}
	text, err := os.ReadFile("../docs/run-format.md")
	must(t, err)
	_, program, found := strings.Cut(string(text), "```python\n")
	program, _, closed := strings.Cut(program, "```")
	if !found || !closed {
		t.Fatal("docs/run-format.md shows no writer")
	}
	dir := t.TempDir()
	c := exec.Command(python, "-c", program)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	records, problems := read(t, filepath.Join(dir, "runs", "from-python"))
	if len(records) != 201 || len(problems) > 0 {
		t.Fatalf("%d records, %v", len(records), problems)
	}
	if r := records[1]; r.Layer != "encoder" || r.Values["virial"] != 0.5 || !math.IsNaN(r.Values["weight_norm"]) {
		t.Errorf("%+v", r)
	}
	list, err := List(dir)
	must(t, err)
	if len(list) != 1 || list[0].State != Finished || list[0].Step != 100 || list[0].Loss != 0.01 {
		t.Errorf("%+v", list)
	}
	r, warning, err := Open(list[0].Dir)
	must(t, err)
	must(t, r.Append(step1(101)))
	must(t, r.Close())
	if warning != "" {
		t.Error(warning)
	}
}
