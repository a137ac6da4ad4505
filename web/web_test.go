package web

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"os"

	"github.com/kelvin-ml/kelvin/monitor"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/run"
)

// TestScale compares the colours of the pages with those of package report.
func TestScale(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("ui", "src", "scale.ts"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, part := range strings.Split(string(text), "'") {
		if len(part) == 7 && part[0] == '#' {
			if want := report.Scale(float64(n) / 64); part != want {
				t.Errorf("colour %d is %s, not %s", n, part, want)
			}
			n++
		}
	}
	if n != 65 {
		t.Errorf("%d colours", n)
	}
}

// writeRun writes a run of five layers, a record every ten steps.
func writeRun(t *testing.T, dir string, steps int) *run.Run {
	t.Helper()
	r, err := run.Create(dir, map[string]string{"made_by": "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	appendTo(t, r, 0, steps)
	finding := run.Record{Step: int64(steps / 2), Kind: "finding", Layer: "blocks.3", Text: "8 % of the units are dead: lower the learning rate"}
	if err := r.Append(finding); err != nil {
		t.Fatal(err)
	}
	return r
}

func appendTo(t *testing.T, r *run.Run, from, to int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(from)))
	var records []run.Record
	for step := from; step < to; step += 10 {
		x := float64(step)
		records = append(records, run.Record{Step: int64(step), Kind: run.KindStep, Values: map[string]float64{
			"loss": 2*math.Exp(-x/500) + 0.2 + 0.05*rng.NormFloat64(), "learning_rate": 0.1}})
		for l := range 5 {
			heat := 0.3*math.Exp(-x/float64(600*(l+1))) + 0.02*rng.NormFloat64() + 0.05
			in := math.Pow(0.8, float64(l))
			records = append(records, run.Record{Step: int64(step), Kind: run.KindLayer, Layer: "blocks." + strconv.Itoa(l), Values: map[string]float64{
				"parameters": float64(1000 * (l + 1)), "centred_virial": float64(1000*(l+1)) * heat,
				"energy_in": in, "energy_out": in * (0.6 + 0.08*float64(l) + 0.01*rng.NormFloat64()), "dead": 0.02 * float64(l), "saturated": 0.01}})
		}
	}
	if err := r.Append(records...); err != nil {
		t.Fatal(err)
	}
}

// TestShownBy looks for a picture of every finding of the monitor.
func TestShownBy(t *testing.T) {
	if len(shownBy) != len(monitor.IDs) {
		t.Errorf("%d findings have a picture, there are %d", len(shownBy), len(monitor.IDs))
	}
	for _, id := range monitor.IDs {
		if !slices.ContainsFunc(labels, func(q quantity) bool { return q.Name == shownBy[id] }) {
			t.Errorf("%s: there is no quantity %q", id, shownBy[id])
		}
	}
}

// TestReportSays looks for the path as it was typed, and the command.
func TestReportSays(t *testing.T) {
	root := t.TempDir()
	writeRun(t, filepath.Join(root, "demo", "run"), 100)
	t.Chdir(root)
	says := func(dir, title string) {
		t.Helper()
		if err := WriteReport(t.Context(), dir, "page.html", "kelvin report "+dir); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile("page.html")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"<title>" + title + " · kelvin</title>", "<h1>" + title + "</h1>", `"run":"` + title + `"`, "<p>command: kelvin report " + dir + "</p>", `"command":"kelvin report ` + dir + `"`} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the page of %s has no %s", dir, want)
			}
		}
	}
	says("demo/run", "demo/run")
	says("./demo/run/", "demo/run")
	t.Chdir("demo/run")
	says(".", "run")
	t.Chdir("..")
	says("run", "run")
	says("../demo/run", "../demo/run")
}
