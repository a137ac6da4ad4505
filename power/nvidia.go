package power

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// counterColumn is the mean power since the row before, of a counter of energy;
// WriteCSV writes it, nvidia-smi does not.
const counterColumn = "power.counter"

// Columns that are read, the best first. Averages lose nothing between readings.
var (
	smiPower  = []string{counterColumn, "power.draw.average", "power.draw", "power.draw.instant"}
	smiDevice = []string{"index", "uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id"}
)

// ReadCSV reads the power of every GPU from a log as
//
//	nvidia-smi --query-gpu=timestamp,index,power.draw,temperature.gpu --format=csv -l 1
//
// writes it, with or without units. The line of column names must be there (no
// noheader); columns may come in any order, others are skipped. Several GPUs need
// a column that tells them apart (index, uuid or pci.bus_id). Timestamps are those
// of the clock of zone: nvidia-smi does not say which. Readings that the driver
// does not give ([N/A], [Not Supported]) are counted as missing, and so is a last
// line without its end. Anything else that is not a reading is an error with
// its line.
func ReadCSV(path string, zone *time.Location) ([]Trace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading power: %w", err)
	}
	defer file.Close()
	traces, err := parseSMI(file, zone)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return traces, nil
}

// An smiLog is a log while it is read.
type smiLog struct {
	zone                          *time.Location
	head                          []string
	stamp, power, device, celsius int     // columns; −1 when there is none
	scale                         float64 // watts of a number without unit
	traces                        []Trace
	at                            map[string]int // of a device in traces
	rows                          int
	last                          string // why the last reading was missing
	torn                          bool   // the last line has no end
}

func parseSMI(from io.Reader, zone *time.Location) ([]Trace, error) {
	end := &endReader{from: from}
	r := csv.NewReader(end)
	r.TrimLeadingSpace, r.FieldsPerRecord, r.LazyQuotes = true, -1, true
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty: expected a line of column names")
	}
	if err != nil {
		return nil, err
	}
	log := smiLog{zone: zone, at: map[string]int{}}
	if err := log.columns(head); err != nil {
		return nil, err
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return log.finish()
		}
		if err != nil {
			return nil, err
		}
		line, _ := r.FieldPos(0)
		if end.last != '\n' && r.InputOffset() == end.read { // the writer was killed, or is at work
			log.torn = true
		} else if err := log.row(row); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// An endReader remembers how much was read, and its last byte.
type endReader struct {
	from io.Reader
	read int64
	last byte
}

func (e *endReader) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	if e.read += int64(n); n > 0 {
		e.last = p[n-1]
	}
	return n, err
}

// columns finds the columns by the names in the first line.
func (l *smiLog) columns(head []string) error {
	for i := range head {
		head[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(head[i], "\ufeff")))
	}
	find := func(names ...string) int {
		for _, name := range names {
			if i := slices.IndexFunc(head, func(h string) bool { return h == name || strings.HasPrefix(h, name+" [") }); i >= 0 {
				return i
			}
		}
		return -1
	}
	l.head = head
	l.stamp, l.power, l.device, l.celsius = find("timestamp"), find(smiPower...), find(smiDevice...), find("temperature.gpu")
	if l.stamp < 0 || l.power < 0 {
		return fmt.Errorf("expected column names with timestamp and power.draw in the first line, got %.120q "+
			"(nvidia-smi --query-gpu=timestamp,index,power.draw --format=csv -l 1, without noheader)", strings.Join(head, ", "))
	}
	switch _, unit, _ := strings.Cut(head[l.power], "["); unit {
	case "", "w]":
		l.scale = 1
	case "mw]":
		l.scale = 1e-3
	default:
		return fmt.Errorf("column %q: expected W or mW", head[l.power])
	}
	return nil
}

// row adds one line.
func (l *smiLog) row(row []string) error {
	if len(row) < len(l.head) {
		return fmt.Errorf("expected %d fields, got %d: %.80q", len(l.head), len(row), strings.Join(row, ", "))
	}
	if strings.EqualFold(strings.TrimSpace(row[l.stamp]), "timestamp") {
		return l.again(row)
	}
	stamp, err := l.time(strings.TrimSpace(row[l.stamp]))
	if err != nil {
		return err
	}
	name := "gpu"
	if l.device >= 0 {
		name = strings.TrimSpace(row[l.device])
		if _, err := strconv.Atoi(name); err == nil {
			name = "gpu " + name
		}
	}
	i, ok := l.at[name]
	if !ok {
		i = len(l.traces)
		l.at[name] = i
		l.traces = append(l.traces, Trace{Device: name, Counter: strings.HasPrefix(l.head[l.power], counterColumn)})
	}
	t := &l.traces[i]
	l.rows++
	watts, missing, err := l.watts(row[l.power])
	if err != nil {
		return err
	}
	if missing {
		t.Missing++
		l.last = strings.TrimSpace(row[l.power])
		return nil
	}
	if n := len(t.Time); n > 0 && t.Time[n-1] == stamp && l.device < 0 {
		return fmt.Errorf("a second reading of %s, and no column (index, uuid) that tells GPUs apart", row[l.stamp])
	}
	celsius := math.NaN()
	if l.celsius >= 0 {
		if x, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(row[l.celsius]), "C")), 64); err == nil && x > -273.15 && x < 1000 {
			celsius = x
		}
	}
	t.add(stamp, watts, celsius)
	return nil
}

// again takes the column names once more, of a log that was appended to.
func (l *smiLog) again(row []string) error {
	for i := range row {
		row[i] = strings.ToLower(strings.TrimSpace(row[i]))
	}
	if !slices.Equal(row, l.head) {
		return fmt.Errorf("other column names than in the first line: %.120q", strings.Join(row, ", "))
	}
	return nil
}

// time reads a timestamp: that of nvidia-smi, or RFC 3339 with its zone.
func (l *smiLog) time(text string) (float64, error) {
	stamp, err := time.ParseInLocation("2006/01/02 15:04:05", text, l.zone)
	if err != nil {
		if stamp, err = time.Parse(time.RFC3339, text); err != nil {
			return 0, fmt.Errorf("timestamp: expected one like 2024/04/10 12:34:56.789, got %.40q", text)
		}
	}
	return float64(stamp.Unix()) + float64(stamp.Nanosecond())/1e9, nil
}

// watts reads a power, with a unit or without.
func (l *smiLog) watts(text string) (watts float64, missing bool, err error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") || strings.EqualFold(text, "n/a") {
		return 0, true, nil
	}
	number, unit, _ := strings.Cut(text, " ")
	scale := l.scale
	switch strings.TrimSpace(unit) {
	case "":
	case "W":
		scale = 1
	case "mW":
		scale = 1e-3
	default:
		return 0, false, fmt.Errorf("%s: expected watts, got %.40q", l.head[l.power], text)
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || !(x*scale >= 0 && x*scale <= largestPower) {
		return 0, false, fmt.Errorf("%s: expected watts from 0 to %g, got %.40q", l.head[l.power], float64(largestPower), text)
	}
	return x * scale, false, nil
}

// finish returns the traces that have a reading.
func (l *smiLog) finish() ([]Trace, error) {
	if l.rows == 0 {
		return nil, errors.New("expected rows, got column names alone")
	}
	read := 0
	for i := range l.traces {
		read += len(l.traces[i].Time)
		l.traces[i].order()
		if l.celsius < 0 {
			l.traces[i].Celsius = nil
		}
	}
	if read == 0 {
		return nil, fmt.Errorf("no power in %d rows: the driver gives %s", l.rows, l.last)
	}
	if l.torn {
		l.traces[len(l.traces)-1].Missing++
	}
	return l.traces, nil
}
