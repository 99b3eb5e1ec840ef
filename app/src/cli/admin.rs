//! `plinth admin`.

use domain::password::Password;
use domain::user::Role;

use super::args::{AdminCommand, ExitCode};
use super::output::{Output, ask_password};
use super::run::{open, refuse, refuse_act};
use super::user::UserRow;
use crate::config::{Config, Secret};
use crate::service::Origin;
use crate::service::admin::NewUser;

pub(super) async fn run(command: AdminCommand, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    let AdminCommand::Create {
        email,
        password_file,
        name,
    } = command;
    let email = match email.parse() {
        Ok(email) => email,
        Err(error) => return wrong(output, "--email", &error),
    };
    let name = match name.parse() {
        Ok(name) => name,
        Err(error) => return wrong(output, "--name", &error),
    };
    let typed = match password_file {
        Some(path) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| std::io::Error::new(error.kind(), format!("--password-file: {error}")))?;
            let text = text
                .strip_suffix('\n')
                .map(|text| text.strip_suffix('\r').unwrap_or(text))
                .unwrap_or(&text);
            Secret::new(text.to_owned())
        }
        None => ask_password("Password: ")?,
    };
    let password = match Password::parse(typed.expose()) {
        Ok(password) => password,
        Err(error) => return wrong(output, "the password", &error),
    };
    let (ports, services) = match open(config).await {
        Ok(opened) => opened,
        Err(error) => return refuse(&error, output),
    };
    let new = NewUser {
        email,
        name,
        password,
        role: Role::Admin,
    };
    let made = services.admin.create(new, &Origin::SYSTEM).await;
    ports.close().await;
    match made {
        Ok(user) => output.record(&UserRow::from(&user)).map(|()| ExitCode::Done),
        Err(error) => refuse_act(&error, output),
    }
}

fn wrong(output: &mut Output, what: &str, rule: &dyn std::fmt::Display) -> std::io::Result<ExitCode> {
    output.fault(&format!("{what} {rule}"))?;
    Ok(ExitCode::Usage)
}
