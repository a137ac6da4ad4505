package run

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// indexVersion changes with the layout of index.sqlite.
const indexVersion = 1

// An Index answers questions about a run without reading all its records. It is
// only a view: it is made again from events.jsonl when it is missing, damaged,
// of another version, or older than the records.
type Index struct{ db *sql.DB }

// A Point is one value of a series.
type Point struct {
	Step  int64
	Value float64
}

// OpenIndex opens the index of the run in dir, made anew if it has to be. A torn
// last line of the records is left out, and returned as the warning.
func OpenIndex(dir string) (index *Index, warning string, err error) {
	if err := check(dir); err != nil {
		return nil, "", err
	}
	info, err := os.Stat(filepath.Join(dir, eventsFile))
	if err != nil {
		return nil, "", fmt.Errorf("indexing run: %w", err)
	}
	stamp := fmt.Sprintf("%d %d %d", indexVersion, info.Size(), info.ModTime().UnixNano())
	path := filepath.Join(dir, "index.sqlite")
	if index, ok := existing(path, stamp); ok {
		return index, "", nil
	}
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	defer os.Remove(temporary)
	os.Remove(temporary) // of a process of the same number that was killed
	warning, err = build(dir, temporary, stamp)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return nil, "", fmt.Errorf("indexing run %s: %w", dir, err)
	}
	index, ok := existing(path, stamp)
	if !ok {
		return nil, "", fmt.Errorf("indexing run %s: another process is indexing it too", dir)
	}
	return index, warning, nil
}

func existing(path, stamp string) (*Index, bool) {
	if _, err := os.Stat(path); err != nil {
		return nil, false
	}
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		return nil, false
	}
	var found string
	if err := db.QueryRow(`SELECT stamp FROM meta`).Scan(&found); err != nil || found != stamp {
		db.Close()
		return nil, false
	}
	return &Index{db}, true
}

func build(dir, path, stamp string) (warning string, err error) {
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.Begin()
	if err != nil {
		return "", err
	}
	defer tx.Rollback() // does nothing after Commit
	_, err = tx.Exec(`
		CREATE TABLE meta (stamp TEXT);
		CREATE TABLE series (id INTEGER PRIMARY KEY, layer TEXT, name TEXT, UNIQUE (layer, name));
		CREATE TABLE points (series INTEGER, step INTEGER, value REAL, PRIMARY KEY (series, step)) WITHOUT ROWID`)
	if err != nil {
		return "", err
	}
	insert, err := tx.Prepare(`INSERT OR REPLACE INTO points VALUES (?, ?, ?)`)
	if err != nil {
		return "", err
	}
	ids := map[[2]string]int64{}
	for record, err := range Records(dir) {
		var torn *TornError
		if errors.As(err, &torn) {
			warning = torn.Error()
			break
		}
		if err != nil {
			return "", err
		}
		for name, value := range record.Values {
			key := [2]string{record.Layer, name}
			if _, ok := ids[key]; !ok {
				ids[key] = int64(len(ids))
				if _, err := tx.Exec(`INSERT INTO series VALUES (?, ?, ?)`, ids[key], record.Layer, name); err != nil {
					return "", err
				}
			}
			if _, err := insert.Exec(ids[key], record.Step, value); err != nil {
				return "", err
			}
		}
	}
	if _, err := tx.Exec(`INSERT INTO meta VALUES (?)`, stamp); err != nil {
		return "", err
	}
	return warning, tx.Commit()
}

// Series returns the values of one name, of a layer or (layer "") of the whole
// system, by step. What was never recorded is an empty series; NaN comes back
// as a missing point.
func (x *Index) Series(layer, name string) ([]Point, error) {
	rows, err := x.db.Query(`
		SELECT step, value FROM points JOIN series ON points.series = series.id
		WHERE layer = ? AND name = ? AND value IS NOT NULL ORDER BY step`, layer, name)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	defer rows.Close()
	var points []Point
	for rows.Next() {
		var p Point
		if err := rows.Scan(&p.Step, &p.Value); err != nil {
			return nil, fmt.Errorf("reading index: %w", err)
		}
		points = append(points, p)
	}
	return points, rows.Err()
}

// Close closes the index.
func (x *Index) Close() error { return x.db.Close() }
