package storage

import (
	"testing"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

// Values may be personal, or secrets: they travel beside a statement, never in it.
func TestNoValueIsWrittenIntoAStatement(t *testing.T) {
	const query = "SELECT id FROM users WHERE email_key = $1"
	for _, dialector := range []gorm.Dialector{sqliteDialector{}, postgresDialector{postgres.New(postgres.Config{})}} {
		if got := dialector.Explain(query, "ann@berlin.example"); got != query {
			t.Errorf("%T explains it as %s", dialector, got)
		}
	}
}
