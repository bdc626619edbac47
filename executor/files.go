package executor

import (
	"fmt"
	"os"
	"strings"
)

// FormatFileSize writes a size as the original system does: 1536 is "1.5 KB".
func FormatFileSize(bytes int64) string {
	size := float64(bytes)
	for _, unit := range []string{"B", "KB", "MB", "GB", "TB"} {
		if size < 1024 {
			return fmt.Sprintf("%.1f %s", size, unit)
		}
		size /= 1024
	}
	return fmt.Sprintf("%.1f PB", size)
}

// ValidateFilePath says whether path names a readable regular file, and if
// not, why.
func ValidateFilePath(path string) error {
	if strings.ContainsRune(path, 0) {
		return &InvalidError{"file path", path, "it contains a NUL byte"}
	}
	st, err := os.Stat(path)
	if err != nil {
		return &InvalidError{"file path", path, err.Error()}
	}
	if !st.Mode().IsRegular() {
		return &InvalidError{"file path", path, "it is not a regular file"}
	}
	f, err := os.Open(path)
	if err != nil {
		return &InvalidError{"file path", path, err.Error()}
	}
	return f.Close()
}
