package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
)

var update = flag.Bool("update", false, "write the golden files")

const hostile = `</svg><script>alert("x")</script>&'`

var nan, inf = math.NaN(), math.Inf(1)

func bars() BarChart {
	return BarChart{Caption: "Temperatures.", Axis: "temperature (energy/nat)", Readings: []thermo.Reading{
		{Group: "0", Value: 1.266e-5, StdErr: 1.6e-7, Unit: "energy/nat"},
		{Group: "encoder.layers.11.self_attention.query", Value: -3e-6, StdErr: nan, Unit: "energy/nat"},
		{Group: hostile, Value: 3e-5, StdErr: 2e-6, Invalid: hostile},
		{Group: "4", Value: nan, StdErr: nan},
	}}
}

func lines() LineChart {
	return LineChart{Caption: "The run.", X: "step (count)", Y: "energy (nat)", LogY: true, Lines: []Line{
		{Name: "training", X: []float64{0, 1, 2, 3, 4, 5}, Y: []float64{2, 1, nan, 0.5, 0, 0.25}, Band: []float64{0.1, 0.1, nan, 0.6, 0.1, 0.01}},
		{Name: hostile, X: []float64{0, 5}, Y: []float64{1, 3}, Hotness: 1},
	}}
}

func heat() HeatMap {
	return HeatMap{Caption: "Layers in time.", X: "step (count)", X1: 1000, Unit: "temperature (energy/nat)", Log: true,
		Rows: []string{"0", hostile}, Values: [][]float64{{1e-5, 2e-5, 2e-5, nan}, {1e-3, 0, inf, 1e-4}}}
}

func scatter() ScatterChart {
	return ScatterChart{Caption: "Both.", X: "rank (1)", Y: "heat (energy)", Diagonal: true, Dots: []Dot{
		{Name: hostile, X: 1, Y: 2, ErrX: 0.1, ErrY: nan}, {X: 3, Y: 2.5, ErrY: 0.2, Hotness: 1}, {X: nan, Y: 1}}}
}

// charts are all kinds of charts, with all that can go wrong in them.
func charts() map[string]Chart {
	dots := bars()
	dots.Dots = true
	return map[string]Chart{
		"bars": bars(), "dots": dots, "lines": lines(), "heatmap": heat(), "scatter": scatter(),
		"reliability": Reliability("Calibration.", []CalibrationBin{{0.55, 0.5, 10}, {0.75, 0, 0}, {0.95, 1, 90}}),
		"flow":        FlowChart{Caption: "Through.", Unit: "signal energy (signal²)", Stages: []Stage{{"0", 1, 0.5, "η 0.5"}, {hostile, 0.5, nan, ""}, {"2", 0.5, 0.6, hostile}}},
		"gantt":       GanttChart{Caption: "When.", X: "time (s)", Rows: []string{"stage 0", hostile}, Bars: []GanttBar{{0, 0, 1, "F0", hostile, 1}, {1, 1, 3, hostile, "backward", 0}, {1, inf, nan, "", "", 0}}},
		"floor":       FloorMap{Caption: "The chip.", Unit: "temperature (K)", Width: 2, Height: 1, Areas: []Area{{"", 0, 0, 1, 1, 330}, {"", 1, 0, 1, 1, 340}, {hostile, 0.5, 0, 1, 1, nan}}},
	}
}

// TestGolden holds the documents of the charts against what was looked at and found good.
func TestGolden(t *testing.T) {
	got, err := json.MarshalIndent(charts(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "charts.json")
	if *update {
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got)+"\n" != string(want) {
		t.Errorf("the documents changed: look at a page, then go test ./report -update")
	}
}

// document marshals a chart and reads it back.
func document(t *testing.T, c Chart) map[string]any {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var d map[string]any
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestMissing says of every chart how much of its data it does not show.
func TestMissing(t *testing.T) {
	for name, note := range map[string]string{"lines": "Not drawn, because not finite or not positive: 2.", "heatmap": "Left grey, because not finite or not positive: 3.",
		"scatter": "Not drawn, because not finite: 1.", "flow": "Left out, because not finite: 1.", "gantt": "Left out, because not finite: 1.", "reliability": ""} {
		if got := document(t, charts()[name])["note"]; got != note {
			t.Errorf("%s: %q, want %q", name, got, note)
		}
	}
}

// TestEmptyCharts marshals nothing, one point and extremes.
func TestEmptyCharts(t *testing.T) {
	reading := func(x float64) []thermo.Reading { return []thermo.Reading{{Value: x}} }
	for _, chart := range []Chart{
		BarChart{}, BarChart{Readings: reading(inf)}, BarChart{Readings: reading(math.MaxFloat64)}, BarChart{Readings: reading(5e-324)},
		LineChart{}, LineChart{Lines: []Line{{X: []float64{nan}, Y: []float64{-inf}, Band: []float64{nan}}}}, LineChart{Marks: []Mark{{From: nan}}},
		HeatMap{}, HeatMap{Rows: []string{"a"}, Log: true}, HeatMap{Rows: []string{"a"}, Values: [][]float64{{}, {1}}}, ScatterChart{}, Reliability("", nil),
		FlowChart{}, GanttChart{}, FloorMap{}, FloorMap{Areas: []Area{{X: nan}}},
	} {
		if text, err := json.Marshal(chart); err != nil || bytes.Contains(text, []byte("NaN")) {
			t.Errorf("%#v: %s %v", chart, text, err)
		}
	}
	if _, err := json.Marshal(LineChart{Caption: "c", Lines: []Line{{Name: "l", X: []float64{1, 2}, Y: []float64{1}}}}); err == nil || !strings.Contains(err.Error(), `line "l" of chart "c"`) {
		t.Errorf("a line of two places and one value: %v", err)
	}
}

// TestLongLine keeps little of a million points, and no spike, gap or end is lost.
func TestLongLine(t *testing.T) {
	const n = 1_000_000
	l := Line{X: make([]float64, n), Y: make([]float64, n)}
	for i := range l.X {
		l.X[i] = float64(i)
	}
	l.Y[n/3], l.Y[n/2], l.Y[n/5] = 1, nan, -1
	short := l.thin(false)
	if len(short.X) > 5000 {
		t.Errorf("%d points", len(short.X))
	}
	seen := map[float64]bool{}
	for i, x := range short.X {
		if x == 0 || x == n-1 || short.Y[i] == 1 && x == n/3 || short.Y[i] == -1 && x == n/5 || math.IsNaN(short.Y[i]) && x == n/2 {
			seen[x] = true
		}
		if i > 0 && x <= short.X[i-1] {
			t.Fatalf("place %g after %g", x, short.X[i-1])
		}
	}
	if len(seen) != 5 {
		t.Errorf("of the ends, the spikes and the gap there are %v", seen)
	}
	if few := (Line{X: []float64{3, 1}, Y: []float64{1, 2}}).thin(true); len(few.X) != 2 {
		t.Error("a short line changed")
	}
}

// TestMeans sums up wide heat maps.
func TestMeans(t *testing.T) {
	if got := means([]float64{1, 3, nan, 5, nan, nan}, 3); got[0] != 2 || got[1] != 5 || !math.IsNaN(got[2]) {
		t.Errorf("got %v", got)
	}
}

// TestScale asks that equal steps look equal, that lightness rises, and that it
// does so for people without red or green cones too.
func TestScale(t *testing.T) {
	colour := func(x float64) [3]float64 {
		n, err := strconv.ParseUint(Scale(x)[1:], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		var rgb [3]float64
		for i := range rgb {
			c := float64(n>>(16-8*i)&255) / 255
			if c <= 0.04045 {
				rgb[i] = c / 12.92
			} else {
				rgb[i] = math.Pow((c+0.055)/1.055, 2.4)
			}
		}
		return rgb
	}
	// F. Viénot, H. Brettel, J. Mollon, Digital video colourmaps for checking
	// the legibility of displays by dichromats, 1999, in linear RGB.
	visions := map[string][3][3]float64{
		"all cones":   {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
		"protanope":   {{0.11238, 0.88762, 0}, {0.11238, 0.88762, 0}, {0.00401, -0.00401, 1}},
		"deuteranope": {{0.29275, 0.70725, 0}, {0.29275, 0.70725, 0}, {-0.02234, 0.02234, 1}},
	}
	const steps = 16
	for vision, m := range visions {
		least, most := inf, 0.0
		var before [3]float64
		for i := 0; i <= steps; i++ {
			rgb := colour(float64(i) / steps)
			var seen [3]float64
			for r := range m {
				seen[r] = math.Max(0, m[r][0]*rgb[0]+m[r][1]*rgb[1]+m[r][2]*rgb[2])
			}
			lab := okLab(seen)
			if i > 0 {
				if lab[0] <= before[0] {
					t.Errorf("%s: lightness falls at %d of %d", vision, i, steps)
				}
				d := math.Hypot(math.Hypot(lab[0]-before[0], lab[1]-before[1]), lab[2]-before[2])
				least, most = math.Min(least, d), math.Max(most, d)
			}
			before = lab
		}
		if limit := map[bool]float64{true: 1.2, false: 2.5}[vision == "all cones"]; most > limit*least {
			t.Errorf("%s: steps from %.4f to %.4f", vision, least, most)
		}
	}
	if Scale(-1) != Scale(0) || Scale(2) != Scale(1) || Scale(nan) != "#808080" {
		t.Error("numbers outside the scale")
	}
}

func okLab(rgb [3]float64) [3]float64 {
	l := math.Cbrt(0.4122214708*rgb[0] + 0.5363325363*rgb[1] + 0.0514459929*rgb[2])
	m := math.Cbrt(0.2119034982*rgb[0] + 0.6806995451*rgb[1] + 0.1073969566*rgb[2])
	s := math.Cbrt(0.0883024619*rgb[0] + 0.2817188376*rgb[1] + 0.6299787005*rgb[2])
	return [3]float64{0.2104542553*l + 0.7936177850*m - 0.0040720468*s, 1.9779984951*l - 2.4285922050*m + 0.4505937099*s, 0.0259040371*l + 0.7827717662*m - 0.8086757660*s}
}

// written writes a page and returns it.
func written(t *testing.T, p Page) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := p.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("files left: %v", entries)
	}
	return string(text)
}

func TestPage(t *testing.T) {
	page := Page{
		Title: hostile, Lead: hostile, Facts: []Fact{{hostile, hostile}},
		Figures:  []Figure{FigureOf(hostile, thermo.Reading{Value: 1, StdErr: 0.1, Unit: hostile, Invalid: hostile})},
		Findings: []thermo.Finding{{ID: "x", Severity: thermo.Critical, Group: hostile, What: hostile, Evidence: hostile, Change: hostile}},
		Sections: []Section{{ID: "s", Title: hostile, Text: hostile, Table: &Table{Columns: []string{"layer", hostile}, Words: map[int]bool{1: true}, Rows: [][]string{{"0", hostile}}, Heat: []float64{nan}}}},
	}
	for _, chart := range charts() {
		page.Sections[0].Charts = append(page.Sections[0].Charts, chart)
	}
	text := written(t, page)
	if strings.Contains(text, `<script>alert`) {
		t.Error("a name became a script")
	}
	for _, bad := range []string{`src="`, `<link rel="stylesheet"`, "@import", "url(", `href="http`, "ZgotmplZ"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	for _, want := range []string{`lang="en"`, "<noscript><main>", "<th>layer</th>", "&lt;/svg&gt;", "prefers-color-scheme:dark"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	// The document inside is that of the page.
	_, data, _ := strings.Cut(text, `id="kelvin-data">`)
	data, _, _ = strings.Cut(data, "</script>")
	var d struct {
		Schema string
		Page   struct {
			Title    string
			Findings []thermo.Finding
			Sections []struct {
				Charts []map[string]any
				Table  struct {
					Words []bool
					Heat  []*float64
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(data), &d); err != nil {
		t.Fatal(err)
	}
	if s := d.Page.Sections[0]; d.Schema != "kelvin/v1" || d.Page.Title != hostile || d.Page.Findings[0].Group != hostile || len(s.Charts) != len(charts()) || !s.Table.Words[0] || s.Table.Heat[0] != nil {
		t.Errorf("got %+v", d)
	}
	if err := page.WriteFile(filepath.Join(t.TempDir(), "none", "nowhere.html")); err == nil {
		t.Error("a page was written into a folder that is not there")
	}
}

// TestFindings tells no findings from none looked for.
func TestFindings(t *testing.T) {
	if text := written(t, Page{Findings: []thermo.Finding{}}); !strings.Contains(text, `"findings":[]`) {
		t.Error("no findings became null")
	}
	if text := written(t, Page{}); !strings.Contains(text, `"findings":null`) {
		t.Error("none looked for became no findings")
	}
}
