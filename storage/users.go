package storage

import (
	"context"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// userRow is a row of the table users. EmailKey is null for those who have no
// address, so that the unique index lets many of them be.
type userRow struct {
	ID            string `gorm:"primaryKey"`
	Email         string
	EmailKey      *string
	EmailVerified bool
	GivenName     string
	FamilyName    string
	DisplayName   string
	Locale        string
	TimeZone      string
	Operator      bool
	Disabled      bool
	Version       int64
	CreatedAt     time.Time `gorm:"autoCreateTime:false"`
	ModifiedAt    time.Time
}

// TableName implements gorm's Tabler.
func (userRow) TableName() string { return "users" }

func userRowOf(u *directory.User) userRow {
	return userRow{
		ID: string(u.ID), Email: u.Email, EmailKey: orNull(schema.Fold(u.Email)), EmailVerified: u.EmailVerified,
		GivenName: u.Name.Given, FamilyName: u.Name.Family, DisplayName: u.Name.Display, Locale: u.Locale, TimeZone: u.TimeZone,
		Operator: u.Operator, Disabled: u.Disabled, Version: u.Version, CreatedAt: at(u.Created), ModifiedAt: at(u.Modified),
	}
}

func (r userRow) user() directory.User {
	return directory.User{
		ID: id.User(r.ID), Email: r.Email, EmailVerified: r.EmailVerified,
		Name:   directory.Name{Given: r.GivenName, Family: r.FamilyName, Display: r.DisplayName},
		Locale: r.Locale, TimeZone: r.TimeZone, Operator: r.Operator, Disabled: r.Disabled, Version: r.Version,
		Created: r.CreatedAt.UTC(), Modified: r.ModifiedAt.UTC(),
	}
}

// CreateUser implements directory.UserStore.
func (s *Store) CreateUser(ctx context.Context, u *directory.User) error {
	u.Version = 1
	return classify(s.exec(ctx, insertUser, userRowOf(u).values()...), "email")
}

// insertUser stores userRow.values.
const insertUser = `INSERT INTO users (id, email, email_key, email_verified, given_name, family_name, display_name, locale, time_zone, operator, disabled, version, created_at, modified_at)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func (r userRow) values() []any {
	return []any{r.ID, r.Email, r.EmailKey, r.EmailVerified, r.GivenName, r.FamilyName, r.DisplayName, r.Locale, r.TimeZone, r.Operator, r.Disabled, r.Version, r.CreatedAt, r.ModifiedAt}
}

// userColumns are those of a user u, for intoUser.
const userColumns = `u.id, u.email, u.email_verified, u.given_name, u.family_name, u.display_name, u.locale, u.time_zone, u.operator, u.disabled, u.version, u.created_at, u.modified_at`

func intoUser(r *userRow) []any {
	return []any{&r.ID, &r.Email, &r.EmailVerified, &r.GivenName, &r.FamilyName, &r.DisplayName, &r.Locale, &r.TimeZone, &r.Operator, &r.Disabled, &r.Version, &r.CreatedAt, &r.ModifiedAt}
}

// User implements directory.UserStore.
func (s *Store) User(ctx context.Context, user id.User) (*directory.User, error) {
	return takeUser(s.conn(ctx).Where("id = ?", user))
}

// UserByEmail implements directory.UserStore.
func (s *Store) UserByEmail(ctx context.Context, email string) (*directory.User, error) {
	return takeUser(s.conn(ctx).Where("email_key = ?", schema.Fold(email)))
}

func takeUser(query *gorm.DB) (*directory.User, error) {
	var row userRow
	if err := query.Take(&row).Error; err != nil {
		return nil, classify(err, "")
	}
	return new(row.user()), nil
}

// Addressee implements directory.TenantStore.
func (s *Store) Addressee(ctx context.Context, address, domain string) (*directory.Addressee, error) {
	var (
		owners, userID, email, given, family, display, locale, zone *string
		verified, operator, disabled                                *bool
		version                                                     *int64
		created, modified                                           *time.Time
	)
	join := "string_agg(d.tenant_id, ' ')"
	if s.sqlite {
		join = "group_concat(d.tenant_id, ' ')"
	}
	err := s.queryRow(ctx, `/* across tenants: who has verified a domain, whose login an address is */
		SELECT o.owners, u.id, u.email, u.email_verified, u.given_name, u.family_name, u.display_name, u.locale, u.time_zone, u.operator, u.disabled, u.version, u.created_at, u.modified_at
		FROM (SELECT `+join+` AS owners FROM tenant_domains d WHERE d.domain = ?) o LEFT JOIN users u ON u.email_key = ?`,
		domain, schema.Fold(address)).Scan(&owners, &userID, &email, &verified, &given, &family, &display, &locale, &zone, &operator, &disabled, &version, &created, &modified)
	if err != nil {
		return nil, classify(err, "")
	}
	found := &directory.Addressee{}
	for owner := range strings.FieldsSeq(orEmpty(owners)) {
		found.Owners = append(found.Owners, id.Tenant(owner))
	}
	if userID != nil {
		found.User = new(userRow{
			ID: *userID, Email: *email, EmailVerified: *verified, GivenName: *given, FamilyName: *family, DisplayName: *display,
			Locale: *locale, TimeZone: *zone, Operator: *operator, Disabled: *disabled, Version: *version, CreatedAt: *created, ModifiedAt: *modified,
		}.user())
	}
	return found, nil
}

// UpdateUser implements directory.UserStore.
func (s *Store) UpdateUser(ctx context.Context, user id.User, change func(*directory.User) error) (*directory.User, error) {
	var u *directory.User
	err := s.InTx(ctx, func(ctx context.Context) error {
		var err error
		if u, err = takeUser(s.locked(ctx).Where("id = ?", user)); err != nil {
			return err
		}
		if err := change(u); err != nil {
			return err
		}
		u.Version++
		row := userRowOf(u)
		return classify(s.conn(ctx).Select("*").Where("id = ?", user).Updates(&row).Error, "email")
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// DeleteUser implements directory.UserStore.
func (s *Store) DeleteUser(ctx context.Context, user id.User) error {
	return classify(s.conn(ctx).Exec("DELETE FROM users WHERE id = ?", user).Error, "")
}
