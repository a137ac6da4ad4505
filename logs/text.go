package logs

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Names of the columns that hold the step and the time, the better ones first.
var (
	stepNames = []string{"step", "global_step", "_step", "trainer/global_step", "iteration", "iter", "steps", "epoch"}
	timeNames = []string{"time", "timestamp", "_timestamp", "wall_time", "datetime"}
)

// columns are the columns of a CSV file.
type columns struct {
	names      []string
	step, time int // -1 for none
}

func header(records *csv.Reader) (c columns, err error) {
	first, err := records.Read()
	if err != nil {
		return c, fmt.Errorf("the header: %w", err)
	}
	for _, name := range first {
		trimmed := strings.TrimSpace(strings.TrimPrefix(name, string(byteOrderMark)))
		if _, err := strconv.ParseFloat(trimmed, 64); err == nil || strings.ContainsRune(trimmed, 0) {
			return c, fmt.Errorf("expected a first line with the names of the columns, got %.40q", name)
		}
		c.names = append(c.names, trimmed)
	}
	c.step, c.time = find(c.names, stepNames), find(c.names, timeNames)
	return c, nil
}

// table yields the cells of a CSV file with a header, row by row. Cells that are
// empty or hold no number are left out; without a column for the step, rows count.
func table(path string, r io.Reader) iter.Seq2[Point, error] {
	return func(yield func(Point, error) bool) {
		records := csv.NewReader(r)
		records.ReuseRecord, records.FieldsPerRecord = true, -1
		c, err := header(records)
		if err != nil {
			yield(Point{}, fmt.Errorf("reading %s: %w", path, err))
			return
		}
		for row := int64(1); ; row++ {
			start := records.InputOffset()
			cells, err := records.Read()
			if err == io.EOF {
				return
			}
			if err == nil && len(cells) != len(c.names) {
				line, _ := records.FieldPos(0)
				err = fmt.Errorf("line %d: expected %d cells, got %d", line, len(c.names), len(cells))
			}
			var points []Point
			if err == nil {
				if points, err = c.points(cells, row); err != nil {
					line, _ := records.FieldPos(0)
					err = fmt.Errorf("line %d: %w", line, err)
				}
			}
			if err != nil {
				if _, end := records.Read(); end == io.EOF {
					yield(Point{}, &TornError{path, start})
				} else {
					yield(Point{}, fmt.Errorf("reading %s: %w", path, err))
				}
				return
			}
			for _, p := range points {
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

// points lists the numbers of one row; a row whose step is no number has none.
func (c columns) points(cells []string, row int64) ([]Point, error) {
	p := Point{Step: row}
	if c.step >= 0 {
		step, err := strconv.ParseFloat(strings.TrimSpace(cells[c.step]), 64)
		if err != nil {
			return nil, nil
		}
		if p.Step, err = wholeStep(step); err != nil {
			return nil, err
		}
	}
	if c.time >= 0 {
		p.Time = moment(cells[c.time])
	}
	var points []Point
	for i, cell := range cells {
		x, err := strconv.ParseFloat(strings.TrimSpace(cell), 64)
		if i == c.step || i == c.time || err != nil && !errors.Is(err, strconv.ErrRange) {
			continue
		}
		points = append(points, Point{p.Step, p.Time, c.names[i], x})
	}
	return points, nil
}

// find returns the first column that has one of the names, whatever its unit in
// parentheses, -1 for none.
func find(columns, names []string) int {
	for _, name := range names {
		if i := slices.IndexFunc(columns, func(c string) bool {
			c, _, _ = strings.Cut(c, " (")
			return strings.EqualFold(c, name)
		}); i >= 0 {
			return i
		}
	}
	return -1
}

// moment returns seconds since 1970, 0 when text is no time.
func moment(text string) float64 {
	text = strings.TrimSpace(text)
	if x, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) {
		return x
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999", "2006-01-02T15:04:05.999999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return float64(t.UnixMicro()) / 1e6
		}
	}
	return 0
}

// mostLine bounds a JSON line in bytes.
const mostLine = 1 << 24

// jsonLines yields the numbers of one JSON object a line; those of nested objects
// are named "outer/inner". Without a field for the step, lines count.
func jsonLines(path string, r io.Reader) iter.Seq2[Point, error] {
	return func(yield func(Point, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, mostLine)
		number := int64(0)
		var offset, next int64
		lines.Split(func(data []byte, end bool) (int, []byte, error) {
			n, token, err := bufio.ScanLines(data, end)
			if token != nil {
				offset, next = next, next+int64(n)
			}
			return n, token, err
		})
		var broken error // of the line before: only the last one may be torn
		for lines.Scan() {
			if broken != nil {
				yield(Point{}, broken)
				return
			}
			number++
			text := strings.TrimSpace(strings.TrimPrefix(lines.Text(), string(byteOrderMark)))
			if text == "" {
				continue
			}
			var object map[string]any
			if err := json.Unmarshal([]byte(bareNumbers(text)), &object); err != nil {
				broken = fmt.Errorf("reading %s: line %d: %w", path, number, err)
				continue
			}
			points, err := flatten(object, number)
			if err != nil {
				yield(Point{}, fmt.Errorf("reading %s: line %d: %w", path, number, err))
				return
			}
			for _, p := range points {
				if !yield(p, nil) {
					return
				}
			}
		}
		switch {
		case lines.Err() != nil:
			yield(Point{}, fmt.Errorf("reading %s: line %d: %w", path, number+1, lines.Err()))
		case broken != nil && number > 1:
			yield(Point{}, &TornError{path, offset})
		case broken != nil:
			yield(Point{}, broken)
		}
	}
}

// bareNumbers quotes the NaN and Infinity that Python's json writes bare.
func bareNumbers(text string) string {
	if !strings.Contains(text, "NaN") && !strings.Contains(text, "Infinity") {
		return text
	}
	return strings.NewReplacer(": NaN", `: "NaN"`, ":NaN", `:"NaN"`, ": Infinity", `: "Infinity"`, ":Infinity", `:"Infinity"`,
		": -Infinity", `: "-Infinity"`, ":-Infinity", `:"-Infinity"`).Replace(text)
}

// flatten lists the numbers of an object, by name.
func flatten(object map[string]any, line int64) ([]Point, error) {
	var names []string
	values := map[string]float64{}
	times := map[string]string{}
	var walk func(prefix string, object map[string]any)
	walk = func(prefix string, object map[string]any) {
		for name, v := range object {
			name = prefix + name
			switch v := v.(type) {
			case float64:
				values[name] = v
			case string:
				times[name] = v
				switch v {
				case "NaN", "Infinity", "-Infinity":
					values[name], _ = strconv.ParseFloat(v, 64)
				}
			case bool:
			case map[string]any:
				walk(name+"/", v)
			}
		}
	}
	walk("", object)
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	p := Point{Step: line}
	stepColumn, timeColumn := find(names, stepNames), find(names, timeNames)
	if stepColumn >= 0 {
		var err error
		if p.Step, err = wholeStep(values[names[stepColumn]]); err != nil {
			return nil, err
		}
	}
	if timeColumn >= 0 {
		p.Time = values[names[timeColumn]]
	}
	for name, text := range times {
		if timeColumn < 0 && slices.Contains(timeNames, strings.ToLower(name)) {
			p.Time = moment(text)
		}
	}
	var points []Point
	for i, name := range names {
		if i != stepColumn && i != timeColumn {
			points = append(points, Point{p.Step, p.Time, name, values[name]})
		}
	}
	return points, nil
}

// wholeStep turns a step that was logged as a number, an epoch of 2.5 say, into a
// whole one.
func wholeStep(x float64) (int64, error) {
	if math.IsNaN(x) || math.Abs(x) > 1<<53 {
		return 0, fmt.Errorf("expected a step, got %g", x)
	}
	return int64(math.Round(x)), nil
}
