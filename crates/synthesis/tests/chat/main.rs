//! Language models behind a server: the client, and generator, agent and judge over real sockets.

mod client;
mod real;
mod scripted;
mod synthesis;
