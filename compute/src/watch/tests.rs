mod judge;
mod judged;
mod property;
mod windows;
mod world;
