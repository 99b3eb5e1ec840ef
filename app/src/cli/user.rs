//! `plinth user`.

use domain::id::UserId;
use domain::page::PageRequest;
use domain::user::User;
use serde::Serialize;

use super::args::{ExitCode, UserCommand};
use super::output::{Output, Row};
use super::run::{open_existing, refuse, refuse_act};
use crate::config::Config;
use crate::service::Origin;
use crate::service::admin::{AdminError, Administration};

/// A user on the command line.
#[derive(Serialize)]
pub(super) struct UserRow {
    id: String,
    email: String,
    name: String,
    role: &'static str,
    tier: String,
    disabled: bool,
    created_at: String,
}

impl From<&User> for UserRow {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email.to_string(),
            name: user.name.as_str().to_owned(),
            role: user.role.as_str(),
            tier: user.tier.to_string(),
            disabled: user.disabled_at.is_some(),
            created_at: user.created_at.to_rfc3339(),
        }
    }
}

impl Row for UserRow {
    const TITLES: &[&str] = &["id", "email", "name", "role", "tier", "disabled", "created"];

    fn cells(&self) -> Vec<String> {
        let disabled = if self.disabled { "yes" } else { "no" };
        vec![
            self.id.clone(),
            self.email.clone(),
            self.name.clone(),
            self.role.to_owned(),
            self.tier.clone(),
            disabled.to_owned(),
            self.created_at.clone(),
        ]
    }
}

pub(super) async fn run(command: UserCommand, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    let (ports, services) = match open_existing(config).await {
        Ok(opened) => opened,
        Err(error) => return refuse(&error, output),
    };
    let done = match command {
        UserCommand::List { limit, after } => list(&services.admin, PageRequest { after, limit }, output).await,
        one => act(&services.admin, one)
            .await
            .map(|user| output.record(&UserRow::from(&user)).map(|()| ExitCode::Done)),
    };
    ports.close().await;
    match done {
        Ok(code) => code,
        Err(error) => refuse_act(&error, output),
    }
}

async fn list(
    admin: &Administration,
    page: PageRequest,
    output: &mut Output,
) -> Result<std::io::Result<ExitCode>, AdminError> {
    let found = admin.list(&page).await?;
    let rows: Vec<UserRow> = found.items.iter().map(UserRow::from).collect();
    let code = if rows.is_empty() {
        ExitCode::Nothing
    } else {
        ExitCode::Done
    };
    let told = output.list(&rows).and_then(|()| match &found.next {
        Some(next) => output.note(&format!("more with --after {next}")),
        None if rows.is_empty() => output.note("no users"),
        None => Ok(()),
    });
    Ok(told.map(|()| code))
}

async fn act(admin: &Administration, command: UserCommand) -> Result<User, AdminError> {
    let origin = Origin::SYSTEM;
    match command {
        UserCommand::Show { user } => find(admin, &user).await,
        UserCommand::SetTier { user, tier } => {
            let id = find(admin, &user).await?.id;
            let tier = tier.parse().map_err(|_| AdminError::UnknownTier(admin.tier_names()))?;
            admin.set_tier(id, &tier, &origin).await
        }
        UserCommand::Disable { user } => admin.disable(find(admin, &user).await?.id, &origin).await,
        UserCommand::Enable { user } => admin.enable(find(admin, &user).await?.id, &origin).await,
        UserCommand::List { .. } => Err(AdminError::NotFound),
    }
}

/// By id, or by address.
async fn find(admin: &Administration, user: &str) -> Result<User, AdminError> {
    if let Ok(id) = user.parse::<UserId>() {
        return admin.show(id).await;
    }
    match user.parse() {
        Ok(email) => admin.show_by_email(&email).await,
        Err(_) => Err(AdminError::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{Format, KeysCommand};
    use super::super::output::tests::{config_in, output};
    use super::super::{keys, migrate};
    use super::*;

    /// Somebody in the wrong folder must not see an empty installation, nor leave one behind.
    #[tokio::test]
    async fn looking_where_nothing_is_installed_says_so_and_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(folder.path());
        let (mut told, out, err) = output(Format::Table, false);
        let list = UserCommand::List { limit: 10, after: None };
        assert_eq!(run(list, &config, &mut told).await.unwrap(), ExitCode::Failed);
        let code = keys::run(KeysCommand::List, &config, &mut told).await.unwrap();
        assert_eq!(code, ExitCode::Failed);
        assert_eq!(out.text(), "");
        assert_eq!(
            err.text().matches("nothing is installed yet").count(),
            2,
            "{}",
            err.text()
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn no_users_and_nothing_to_migrate_are_said_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(folder.path());
        let (mut told, out, err) = output(Format::Table, false);
        let up = || super::super::args::MigrateArgs { command: None };
        migrate::run(up(), &config, &mut told).await.unwrap();
        let first = out.text();
        assert_eq!(migrate::run(up(), &config, &mut told).await.unwrap(), ExitCode::Nothing);
        let list = UserCommand::List { limit: 10, after: None };
        assert_eq!(run(list, &config, &mut told).await.unwrap(), ExitCode::Nothing);
        assert_eq!(out.text(), first, "no table without rows");
        let said = err.text();
        assert!(said.contains("nothing to do") && said.contains("no users"), "{said}");
    }
}
